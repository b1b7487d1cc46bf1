"""Stages of training, each made once: taken from the store, or made, and kept there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..models import AnyPolicy, UNet
from .artifacts import ArtifactStore, Tensors
from .loop import Fitted, History, Left, Span

__all__ = ["TRAINED_ON", "TRAINED_S", "Stages", "place", "trained_on"]

TRAINED_S = "trained_s"
"""Note of a UNet's stage: seconds all of its training took, that of the stages before included."""
TRAINED_ON = "trained_on"
"""Note of a UNet's stage: where it was trained (:func:`place`)."""


def place(device: torch.device) -> str:
    """Where a stage is made: the GPU, or the kind of device and the threads that it takes, and torch's version."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = f" ({torch.get_num_threads()} threads)" if device.type == "cpu" else ""
    return f"{name}{threads}, torch {torch.__version__}"


def trained_on(store: ArtifactStore, keys: Iterable[str]) -> str:
    """Where what lies under ``keys`` was trained; "" where no note tells."""
    found = {one.notes.get(TRAINED_ON, "") for key in keys if (one := store.get(key))}
    return " and ".join(sorted(found - {""}))


class Stages:
    """The stages of one training on ``device``. ``shares`` of the epochs, rising: trained is to the last of them."""

    def __init__(self, store: ArtifactStore, device: torch.device, shares: Sequence[float] = (1.0,)) -> None:
        self.store, self.device, self.shares = store, device, shares
        self.seconds: dict[str, float] = {}  # by stage; 0 for what was in the store
        self.histories: dict[str, History] = {}

    def stage(self, name: str, key: str, make: Callable[[], tuple[Tensors, dict[str, Any]]]) -> dict[str, Tensor]:
        artifact = self.store.get_or_make(key, make)
        self.seconds[name] = self.seconds.get(name, 0.0) + artifact.seconds
        if "history" in artifact.notes:
            self.histories[name] = artifact.notes["history"]
        return artifact.tensors

    def trained(
        self, name: str, key: str, module: UNet | AnyPolicy, train: Callable[[], History], *, before: str = ""
    ) -> None:
        """Bring ``module`` to what the stage makes of it; ``before``: key of the stage that it goes on from."""

        def make() -> tuple[Tensors, dict[str, Any]]:
            begun = time.monotonic()
            start = self.store.get(before) if before else None
            history = train()
            took_s = time.monotonic() - begun + (start.notes[TRAINED_S] if start else 0.0)
            return module.state_dict(), {"history": history, TRAINED_S: took_s, TRAINED_ON: place(self.device)}

        module.load_state_dict(self.stage(name, key, make))
        module.eval()

    def trained_in_part(self, name: str, key: str, epochs: int, module: UNet, train: Callable[[Span], Fitted]) -> str:
        """Bring ``module`` to what the stage makes of it with this run's share of its ``epochs``, going on from the
        largest smaller share in the store; the key of what it was brought to."""
        *before, share = ({Span(one).last(epochs): one for one in self.shares}).items()
        # What was left on the way goes on bit for bit, which takes the same kind of device and the same torch.
        kind = f"{self.device.type}-{torch.__version__}"
        keys = {last: key if last == epochs else f"{key}-{last}of{epochs}-{kind}" for last, _ in (*before, share)}

        def make() -> tuple[Tensors, dict[str, Any]]:
            begun = time.monotonic()
            found = (self.store.get(keys[last]) for last, _ in reversed(before))
            artifact = next((one for one in found if one), None)
            left = Left(artifact.tensors, artifact.notes["history"]) if artifact else None
            fitted = train(Span(share[1], left))
            state = fitted.left.tensors if fitted.left else {}
            took_s = time.monotonic() - begun + (artifact.notes[TRAINED_S] if artifact else 0.0)
            notes = {"history": fitted.history, TRAINED_S: took_s, TRAINED_ON: place(self.device)}
            return {**state, **module.state_dict()}, notes

        made = self.stage(name, keys[share[0]], make)
        module.load_state_dict({name: made[name] for name in module.state_dict()})
        module.eval()
        return keys[share[0]]
