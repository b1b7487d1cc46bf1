"""What is measured: one module at one set of inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["Workload"]


@dataclass(frozen=True)
class Workload:
    """A model at a shape and batch, or a step of the routing, as a module and example inputs.

    ``key`` names it in a profile; two workloads with one key are the same workload. Workloads of one
    ``architecture`` differ in size only, so that the cost of one can be told from the others'; "" for none.
    """

    key: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    batch: int
    architecture: str = ""
