"""One image through a pipeline: f_0 screens it, the policy points, f_1 … f_m replace its labels in their patches.

The steps are modules, so that what is timed (:func:`workloads`) is what runs (:class:`RoutedPipeline`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .config import Context, Grid, PipelineConfig, PolicyConfig, UNetConfig
from .cost import RoutePlan, Runtime, Workload
from .models import AnyPolicy, MonteCarlo, UNet, build_policy, build_unet
from .patches import CELLS, captured, counting, hard_labels, pad_to_grid, patch_size
from .records import STEPS

__all__ = [
    "GivenRoute",
    "Routed",
    "RoutedPipeline",
    "Screen",
    "batch_points",
    "cut_out",
    "places",
    "put_back",
    "screening",
    "workloads",
]

CACHED_PIXELS = 2**18
"""Pixels of patches that f_i takes at once on a CPU."""
Step = Any
"""One of the modules here, or the function that a runtime made of it."""


class Screen(nn.Module):
    """f_0 on the whole image: (N, C, H, W) → class probabilities (N, K, H, W), labels (N, H, W) uint8."""

    def __init__(self, model: UNet, samples: int, seed: int) -> None:
        super().__init__()
        self.probability = MonteCarlo(model, samples, seed)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        probability = self.probability(images)
        return probability, hard_labels(probability)


class Decide(nn.Module):
    """The policy: images and probabilities → model of each patch (N, P) and its probability (N, P)."""

    def __init__(self, policy: AnyPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, images: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
        chance = torch.softmax(self.policy(self.policy.observe(images, probability)), dim=-1).flatten(1, 2)
        confidence, action = chance.max(dim=-1)
        return action, confidence


def places(index: Tensor, size: tuple[int, int], grid: Grid, halo: int) -> Tensor:
    """Where the pixels of the patches ``index`` (n,), of all N·P, lie among those of N images of ``size``, one image
    after the other: (n, h + 2·halo, w + 2·halo) long. Beyond an image its edge is repeated."""
    height, width = size
    h, w = patch_size(height, width, grid)
    patches = grid[0] * grid[1]
    at = index % patches
    rows = (at // grid[1] * h - halo)[:, None] + counting(index, h + 2 * halo)
    columns = (at % grid[1] * w - halo)[:, None] + counting(index, w + 2 * halo)
    rows = rows.clamp(0, height - 1) + (index // patches * height)[:, None]
    return rows[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]


def cut_out(maps: Tensor, pixels: Tensor) -> Tensor:
    """The patches whose pixels lie at ``pixels`` (n, h, w), as :func:`places` gives them, of maps (N, C, H, W), as
    patches.split cuts them: (n, C, h, w). Nothing else of one image is copied; of several, all is."""
    flat = maps.reshape(maps.shape[1], -1) if len(maps) == 1 else maps.transpose(0, 1).flatten(1)  # (C, N·H·W)
    return flat.index_select(1, pixels.flatten()).reshape(len(flat), *pixels.shape).transpose(0, 1)


def put_back(labels: Tensor, patches: Tensor, index: Tensor, grid: Grid) -> Tensor:
    """Labels (N, H, W) with the patches ``index`` (n,), of all N·P, replaced by ``patches`` (n, h, w)."""
    height, width = int(labels.shape[-2]), int(labels.shape[-1])
    h, w = int(patches.shape[-2]), int(patches.shape[-1])
    whole = pad_to_grid(labels[:, None], grid, value=0)  # what reaches beyond the image is cut off again
    size = int(whole.shape[-2]), int(whole.shape[-1])
    cells = whole.reshape(-1, grid[0], h, grid[1], w)
    at = (index // (grid[0] * grid[1]), index // grid[1] % grid[0], index % grid[1])
    image, row, column = (one[:, None] for one in at)
    replaced = cells.index_put((image, row, counting(index, h)[None], column), patches).reshape(-1, *size)
    return replaced if size == (height, width) else replaced[:, :height, :width]


class Refine(nn.Module):
    """f_i on the patches at ``index`` (n,): labels (N, H, W) with those patches replaced.

    With ``context`` "screen" it sees f_0's class probabilities beside the image.
    """

    def __init__(self, model: UNet, grid: Grid, halo: int, context: Context) -> None:
        super().__init__()
        self.model, self.grid, self.halo, self.context = model, grid, halo, context

    def forward(self, images: Tensor, probability: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        # On a CPU a large batch leaves the cache, and every patch takes longer. An exported model takes all at once.
        h, w = patch_size(int(images.shape[-2]), int(images.shape[-1]), self.grid)
        at_once = max(1, CACHED_PIXELS // ((h + 2 * self.halo) * (w + 2 * self.halo)))
        if captured() or not images.is_cpu or len(index) <= at_once:
            return put_back(labels, self.labels(images, probability, index), index, self.grid)
        parts = torch.split(index, at_once)
        found = torch.cat([self.labels(images, probability, part) for part in parts])
        return put_back(labels, found, index, self.grid)

    def labels(self, images: Tensor, probability: Tensor, index: Tensor) -> Tensor:
        """Those of the patches at ``index`` (n,): (n, h, w)."""
        pixels = places(index, (int(images.shape[-2]), int(images.shape[-1])), self.grid, self.halo)
        seen = cut_out(images, pixels)
        if self.context == "screen":
            seen = torch.cat([seen, cut_out(probability, pixels).to(seen.dtype)], dim=1)
        logits = self.model(seen)
        if self.halo:
            logits = logits[..., self.halo : -self.halo, self.halo : -self.halo]
        return hard_labels(logits)


def _laid_out(model: UNet) -> UNet:
    """Channels last, in place, where it is faster: with batch norm on a CPU; with instance norm it is slower."""
    if model.config.norm in ("batch", "none"):
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
    return model


@dataclass(frozen=True)
class Routed:
    """What one batch of images became."""

    masks: Tensor  # (N, H, W) uint8
    route: Tensor  # (N, P) model of each patch
    confidence: Tensor  # (N, P) the policy's probability of its choice
    seconds: dict[str, float] = field(default_factory=dict)


class RoutedPipeline:
    """A trained pipeline, ready to run; models and policy must lie on one device and be in eval mode."""

    def __init__(self, config: PipelineConfig, models: Sequence[UNet], policy: AnyPolicy) -> None:
        self.config = config
        self.screen: Step = Screen(_laid_out(models[0]), config.mc_samples, config.seed)
        self.decide: Step = Decide(policy)
        self.refine: list[Step] = [
            Refine(_laid_out(model), config.grid, config.halo, config.context) for model in models[1:]
        ]

    def through(self, runtime: Runtime, image: Tensor) -> RoutedPipeline:
        """The same pipeline with every step run by ``runtime``, for single images of ``image``'s shape (1, C, H, W)."""
        with torch.inference_mode():
            probability, labels = self.screen(image)
        points = [torch.arange(n, device=image.device) for n in batch_points(self.config.patches)]
        other = copy.copy(self)
        other.screen = runtime(self.screen, [(image,)])
        other.decide = runtime(self.decide, [(image, probability)])
        sent = [(image, probability, labels, index) for index in points]
        other.refine = [runtime(one, sent) for one in self.refine]
        return other

    @torch.inference_mode()
    def run(
        self, images: Tensor, *, route: Tensor | None = None, synchronize: Callable[[], object] = lambda: None
    ) -> Routed:
        """Images (N, C, H, W), standardised → masks; ``seconds`` holds the wall time of each step.

        ``route`` (N, P), if given, is taken instead of the policy's choice.
        """
        seconds: dict[str, float] = {}
        last = time.perf_counter()

        def lap(step: str) -> None:
            nonlocal last
            synchronize()
            now = time.perf_counter()
            seconds[step] = now - last
            last = now

        return Routed(*self(images, route, lap), seconds)

    def __call__(
        self, images: Tensor, route: Tensor | None = None, lap: Callable[[str], None] = lambda step: None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks, route and confidence; ``route`` (N, P), if given, is taken instead of the policy's choice."""
        probability, labels = self.screen(images)
        lap("screen")
        action, confidence = self.decide(images, probability)
        if route is not None:
            action = route
        lap("policy")
        for number, refine in enumerate(self.refine, start=1):
            index = (action.flatten() == number).nonzero().squeeze(1)
            if len(index):
                labels = refine(images, probability, labels, index)
                lap(f"f_{number}")
        return labels, action, confidence


class GivenRoute(nn.Module):
    """A whole pipeline as one module: images (N, C, H, W) and the model of each patch (N, P) → masks, confidence.

    The policy runs and is not heeded.
    """

    def __init__(self, pipeline: RoutedPipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        steps = (pipeline.screen, pipeline.decide, *pipeline.refine)
        self.steps = nn.ModuleList(step for step in steps if isinstance(step, nn.Module))

    def forward(self, images: Tensor, route: Tensor) -> tuple[Tensor, Tensor]:
        masks, _, confidence = self.pipeline(images, route)
        return masks, confidence


# --- what to measure ----------------------------------------------------------------------------------


def batch_points(patches: int) -> tuple[int, ...]:
    """Batch sizes a model is measured at: powers of two and all patches."""
    points = []
    n = 1
    while n < patches:
        points.append(n)
        n *= 2
    return (*points, patches)


def _describe(model: UNetConfig) -> str:
    return (
        f"unet-b{model.base}-d{model.depth}-x{model.scale:g}-{model.norm}-p{model.dropout:g}"
        f"-c{model.in_channels}-k{model.classes}"
    )


def _architecture(model: UNetConfig) -> str:
    """All but the size: networks of one norm are laid out alike (:func:`_laid_out`)."""
    return f"unet-{model.norm} {STEPS}"


def workloads(
    config: PipelineConfig, *, height: int, width: int, device: torch.device
) -> tuple[list[Workload], RoutePlan]:
    """Every step of a route of ``config`` on one image as a workload, and the plan that names them.

    The weights are drawn at random: they do not change the cost.
    """
    classes, channels = config.models[0].classes, config.models[0].in_channels
    grid, halo = config.grid, config.halo
    shape, tiling = f"{height}x{width}", f"g{grid[0]}x{grid[1]}-h{halo}"
    nets = [_laid_out(build_unet(model, seed=0).to(device).eval()) for model in config.models]
    image = torch.randn(1, channels, height, width, device=device)
    probability = torch.softmax(torch.randn(1, classes, height, width, device=device), dim=1)
    labels = hard_labels(probability)
    added = f"+k{classes}" if config.context == "screen" else ""

    policy = build_policy(config.policy, models=len(nets), grid=grid, classes=classes, channels=channels, seed=0)
    steps = [
        _screening(config.models[0], nets[0], config.mc_samples, image),
        Workload(_policy_key(config.policy, len(nets), classes, channels, tiling, shape),
                 Decide(policy.to(device).eval()), (image, probability), 1),
    ]  # fmt: skip
    refinements = [
        _refinements(model, Refine(net, grid, halo, config.context), (image, probability, labels),
                     f"{tiling}{added} {shape} {STEPS}")
        for model, net in zip(config.models[1:], nets[1:], strict=True)
    ]  # fmt: skip
    once = _screening(config.models[0], nets[0], 0, image)
    plan = RoutePlan(
        screen=steps[0].key,
        screen_once=once.key,
        policy=steps[1].key,
        context=config.context == "screen",
        models=tuple({n: one.key for n, one in points.items()} for points in refinements),
    )
    everything = [*steps, once, *(one for points in refinements for one in points.values())]
    return list({one.key: one for one in everything}.values()), plan


def screening(size: UNetConfig, *, height: int, width: int, device: torch.device) -> Workload:
    """One UNet on a whole image in one plain pass."""
    image = torch.randn(1, size.in_channels, height, width, device=device)
    return _screening(size, _laid_out(build_unet(size, seed=0).to(device).eval()), 0, image)


def _screening(size: UNetConfig, net: UNet, samples: int, image: Tensor) -> Workload:
    key = f"screen {_describe(size)} mc{samples} {image.shape[-2]}x{image.shape[-1]} {STEPS}"
    return Workload(key, Screen(net, samples, seed=0), (image,), 1, _architecture(size))


def _refinements(model: UNetConfig, refine: Refine, seen: tuple[Tensor, ...], shape: str) -> dict[int, Workload]:
    """f_i at every batch point: one module, so that it is exported and compiled once. ``seen``: the image, f_0's
    probabilities and labels."""
    count = refine.grid[0] * refine.grid[1]
    return {
        n: Workload(
            f"refine {_describe(model)} n{n}of{count} {shape}",
            refine,
            (*seen, torch.arange(n, device=seen[-1].device)),
            n,
            _architecture(model),
        )
        for n in batch_points(count)
    }


def _policy_key(policy: PolicyConfig, models: int, classes: int, channels: int, tiling: str, shape: str) -> str:
    width = f"-w{policy.width}" if policy.kind == "pooled" else ""
    reference = f"-every{policy.every}" if policy.every > 1 else ""
    stride = f"-{CELLS}cells{policy.stride}" if policy.kind != "reference" else reference
    return f"policy {policy.kind}{width}{stride} m{models} k{classes} c{channels} {tiling} {shape} {STEPS}"
