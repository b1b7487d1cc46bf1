"""What every runtime must do: the module's own results, for every shape of its examples, without its memory."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor, nn

from paser_opt.config import Device, PipelineConfig, UNetConfig
from paser_opt.cost.runtimes import RUNTIMES, runtime_for
from paser_opt.errors import DeviceError
from paser_opt.models import build_unet
from paser_opt.routing import workloads

CPU = torch.device("cpu")
TOLERANCE = {"eager": 0.0, "compile": 1e-4, "onnx": 1e-4, "onnx-int8": 0.05}


class Head(nn.Module):
    """A small network with open batch and an integer input, as the refinements are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def forward(self, patches: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.body(patches[index])
        return logits, index + 1


def device(name: str) -> Device:
    return Device(name="here", local=True, runtime=name, threads=1)  # type: ignore[arg-type]


def needs(name: str) -> None:
    if name == "compile" and not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler, and there is none")


@pytest.mark.parametrize("name", RUNTIMES)
@torch.inference_mode()
def test_results_are_the_modules_own_at_every_size(name: str) -> None:
    needs(name)
    module, patches = Head().eval(), torch.randn(6, 1, 12, 10, generator=torch.Generator().manual_seed(1))
    examples = [(patches, torch.arange(n)) for n in (1, 6)]
    run = runtime_for(device(name), CPU)(module, examples)
    for index in (torch.arange(6), torch.tensor([5, 1]), torch.tensor([4]), torch.tensor([0, 2, 3])):
        (logits, numbers), (expected, _) = run(patches, index), module(patches, index)
        assert torch.equal(numbers, index + 1)
        assert logits.shape == expected.shape
        assert (logits - expected).abs().max() <= TOLERANCE[name] * expected.abs().max()


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
@torch.inference_mode()
def test_every_step_of_a_route_runs(name: str) -> None:
    sizes = tuple(UNetConfig(base=base, depth=1, classes=3) for base in (2, 4, 4))
    steps, _ = workloads(
        PipelineConfig(models=sizes, grid=(2, 3), halo=1, mc_samples=0), height=21, width=30, device=CPU
    )
    runtime = runtime_for(device(name), CPU)
    for step in steps:
        expected, found = step.module(*step.inputs), runtime(step.module, [step.inputs])(*step.inputs)
        if name == "onnx":
            for one, other in zip(_all(found), _all(expected), strict=True):
                assert one.dtype == other.dtype
                assert torch.allclose(one.double(), other.double(), atol=1e-4)


def _all(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@torch.inference_mode()
def test_half_precision_is_computed_in_half_precision() -> None:
    half = device("eager").model_copy(update={"precision": "bf16"})
    module = build_unet(UNetConfig(base=4, depth=1, norm="batch"), seed=0).eval()
    image = torch.randn(1, 1, 16, 16)
    assert runtime_for(half, CPU)(module, [(image,)])(image).dtype is torch.bfloat16
    assert runtime_for(device("auto"), CPU)(module, [(image,)])(image).dtype is torch.float32


@pytest.mark.parametrize(
    ("runtime", "precision", "words"),
    [
        ("eager", "fp16", "fp16 is for GPUs; on a CPU choose --precision bf16 or fp32"),
        ("onnx", "bf16", "runtime onnx runs in its own precision; leave --precision at fp32"),
        ("torchscript", "fp32", "runtime torchscript runs on devices reached by --host"),
    ],
)
def test_what_this_machine_cannot_do_is_one_line_with_the_mend(runtime: str, precision: str, words: str) -> None:
    wrong = Device(name="here", local=True, runtime=runtime, precision=precision)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=words):
        runtime_for(wrong, CPU)(Head(), [(torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.long))])
