"""A bundle at work: ONNX Runtime and numpy, no torch.

image → screen → policy → f_1 … f_m on the patches sent to each, in one batch → mask
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .bundle import MANIFEST, OUTSIDE, Manifest, read_bundle, step_file
from .config import FLAT
from .errors import ConfigError, DataError, RunError
from .images import extent, overlap, read_image
from .onnx_session import open_session

__all__ = ["Prediction", "Predictor", "TimeBudget", "capped", "most_sent"]

_CALIBRATIONS = 5
_FIRST_OUTPUT = ""

Mask = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.float32]
Patches = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prediction:
    """What became of one image."""

    mask: Mask  # (H, W) class indices, OUTSIDE where the image was cropped
    route: Patches  # (P,) model of each patch
    wanted: Patches  # (P,) what the policy chose; differs from ``route`` only under a budget or a cap
    seconds: dict[str, float] = field(default_factory=dict)
    """wall time of each step"""

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


class Predictor:
    """The models of the bundle in ``folder``, loaded. Raises RunError for a bundle that is missing or damaged,
    or whose manifest speaks of other images than its models take."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.manifest, models = read_bundle(folder)
        data = self.manifest
        sessions = {step: _open(step_file(folder, step), models.pop(step), threads) for step in data.steps}
        _check(folder, data, sessions)
        self._run = {step: _runner(session, step_file(folder, step)) for step, session in sessions.items()}
        self._mean, self._std = (np.array(one, dtype=np.float32)[:, None, None] for one in (data.mean, data.std))
        self._models = len(data.pipeline.models)
        self._budget: TimeBudget | None = None

    def read(self, path: Path) -> Pixels:
        """(C, H, W) in [0, 1]. Raises DataError for a file that is no image, or of a size the bundle does not take."""
        data = self.manifest
        image = read_image(path, colour=data.channels == 3)
        if image.shape[1:] != (data.height, data.width) and not data.fitted:
            raise DataError(
                f"{path} is {extent(image.shape[1:])} (height x width); this bundle takes "
                f"{extent((data.height, data.width))}: crop or scale it first"
            )
        return image

    def __call__(
        self, image: Pixels, *, budget_s: float | None = None, cap: bool = False, route: Patches | None = None
    ) -> Prediction:
        """One image (C, H, W) in [0, 1]. Under a budget, the patches the policy is least sure to send on stay with
        f_0, until the time measured for the rest on this machine keeps it; under a cap, until neither a model nor all
        together have more than in any image of val. ``route`` (P,), if given, is taken instead of the policy's choice.

        Raises ConfigError for a budget that screen and policy alone exceed, and RunError for a cap that the bundle
        does not know.
        """
        if cap and not self.manifest.most_patches:
            raise RunError("this bundle's run did not keep what images of val sent on, so there is no cap to hold: "
                           "search anew and export again, or give a budget of time")  # fmt: skip
        budget = self._calibrated(budget_s) if budget_s is not None else None
        size = (self.manifest.height, self.manifest.width)
        inside, placed = overlap(image.shape[1:], size)
        before = [(one.start, side - one.stop) for one, side in zip(placed, size, strict=True)]
        seen = image[(slice(None), *inside)]
        if seen.shape[1:] != size:  # np.pad copies even where nothing is missing
            seen = np.pad(seen, [(0, 0), *before], mode="edge")
        clock = _Clock()
        x = self._standardised(seen)[None]
        probability, labels = self._run["screen"](x)
        clock.lap("screen")
        action, confidence = self._run["policy"](x, probability)
        wanted = action[0]
        if route is None:
            route = wanted
        if cap:
            route = capped(route, confidence[0], self.manifest.most_patches)
        if budget is not None and budget_s is not None:
            route = budget.keep(route, confidence[0], budget_s)
        clock.lap("policy")
        for model in range(1, self._models):
            sent = np.flatnonzero(route == model)
            if len(sent):
                (labels,) = self._run[f"f_{model}"](x, probability, labels, sent)
                clock.lap(f"f_{model}")
        mask = np.full(image.shape[1:], OUTSIDE, dtype=np.uint8)
        mask[inside] = labels[0][placed]
        return Prediction(mask, route, wanted, clock.seconds)

    def _standardised(self, image: Pixels) -> Pixels:
        if self.manifest.standardise == "dataset":
            return (image - self._mean) / self._std
        centred = image - image.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        own = np.sqrt(np.square(centred).mean(axis=(1, 2), keepdims=True))
        standard: Pixels = (centred / np.where(own < FLAT, 1.0, own)).astype(np.float32)
        return standard

    def run_blank(self, route: list[int]) -> None:
        """A blank image through a given route (P,), to time it."""
        blank = np.zeros((self.manifest.channels, self.manifest.height, self.manifest.width), dtype=np.float32)
        self(blank, route=np.asarray(route))

    def _calibrated(self, budget_s: float) -> TimeBudget:
        """Time of every step on this machine; taken once."""
        if self._budget is None:
            self._budget = self._calibrate()
        if budget_s < self._budget.fixed_s:
            raise ConfigError(
                f"a budget of {budget_s * 1e3:.3g} ms is under the {self._budget.fixed_s * 1e3:.3g} ms that screen and "
                "policy take on this machine: give more, or another bundle"
            )
        return self._budget

    def _calibrate(self) -> TimeBudget:
        x = np.zeros((1, self.manifest.channels, self.manifest.height, self.manifest.width), dtype=np.float32)
        probability, labels = self._run["screen"](x)
        count = self.manifest.pipeline.patches
        points = sorted({*(2**power for power in range(count.bit_length())), count})
        fixed = (
            lambda: self._run["screen"](x),
            lambda: self._run["policy"](x, probability),
        )

        def refine(model: int, n: int) -> Callable[[], object]:
            return lambda: self._run[f"f_{model}"](x, probability, labels, np.arange(n))

        curves = [[0.0, *(_median_s(refine(model, n)) for n in points)] for model in range(1, self._models)]
        return TimeBudget(sum(_median_s(call) for call in fixed), [0, *points], curves)


def most_sent(patches: Sequence[Sequence[int]]) -> list[int]:
    """Of images with so many patches of f_0 … f_m: the most that one sent on in all, then the most to f_1 … f_m."""
    sent = [(sum(each[1:]), *each[1:]) for each in patches]
    return [max(each) for each in zip(*sent, strict=True)]


def capped(wanted: Patches, confidence: npt.NDArray[np.float32], most: Sequence[int]) -> Patches:
    """``wanted`` (P,) with at most ``most[i]`` patches sent to f_i, i ≥ 1, and ``most[0]`` in all, the surest by
    ``confidence`` (P,)."""
    order = np.argsort(-confidence, kind="stable")
    route = wanted.copy()
    for model, count in enumerate(most[1:], start=1):
        route[order[wanted[order] == model][count:]] = 0
    route[order[route[order] > 0][most[0] :]] = 0
    return route


@dataclass(frozen=True)
class TimeBudget:
    """Measured seconds: of what every image takes, and of f_1 … f_m at so many patches."""

    fixed_s: float
    points: Sequence[int]
    curves: Sequence[Sequence[float]]

    def keep(self, wanted: Patches, confidence: npt.NDArray[np.float32], budget_s: float) -> Patches:
        """``wanted`` (P,) with as many of the surest patches, by ``confidence`` (P,), sent on as the budget allows."""
        order = np.argsort(-confidence, kind="stable")
        order = order[wanted[order] > 0]  # (Q,) those sent on, the surest first
        total_s = np.full(len(order) + 1, self.fixed_s)  # (Q + 1,) with the first 0 … Q of them
        for model, curve in enumerate(self.curves, start=1):
            sent = np.concatenate([[0], np.cumsum(wanted[order] == model)])
            total_s += np.interp(sent, self.points, curve)
        kept = int(np.flatnonzero(total_s <= budget_s).max())
        route = wanted.copy()
        route[order[kept:]] = 0
        return route


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = now - self._last
        self._last = now


def _open(path: Path, content: bytes, threads: int) -> Any:
    try:
        return open_session(content, ("CPUExecutionProvider",), threads)
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise _unusable("open", path, error) from None


def _check(folder: Path, manifest: Manifest, sessions: dict[str, Any]) -> None:
    """The manifest against the shapes that the models declare."""
    size, (rows, columns) = [manifest.height, manifest.width], manifest.pipeline.grid
    image, labels = [1, manifest.channels, *size], [1, *size]
    wanted_of = [
        ("screen", "x0", image),
        ("policy", "x1", [1, len(manifest.class_names), *size]),
        ("policy", _FIRST_OUTPUT, [1, rows * columns]),
    ]
    for index in range(1, len(manifest.pipeline.models)):
        wanted_of += [(f"f_{index}", "x0", image), (f"f_{index}", "x2", labels), (f"f_{index}", _FIRST_OUTPUT, labels)]
    for step, name, wanted in wanted_of:
        shapes = {one.name: one.shape for one in sessions[step].get_inputs()}
        shapes[_FIRST_OUTPUT] = sessions[step].get_outputs()[0].shape
        if shapes.get(name) != wanted:
            raise RunError(
                f"{folder / MANIFEST} is not of these models: {step} has {shapes.get(name)}, the manifest says "
                f"{wanted}; export the bundle again"
            )


def _runner(session: Any, path: Path) -> Callable[..., list[Any]]:
    """The session as a function of its module's inputs; one that nothing depends on is not among the session's."""
    inputs = [(one.name, int(one.name[1:])) for one in session.get_inputs() if re.fullmatch(r"x\d", one.name)]

    def run(*arrays: Any) -> list[Any]:
        try:
            outputs: list[Any] = session.run(None, {name: arrays[index] for name, index in inputs})
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise _unusable("run", path, error) from None
        return outputs

    return run


def _unusable(verb: str, path: Path, error: Exception) -> RunError:
    return RunError(f"ONNX Runtime cannot {verb} {path}: {str(error).strip()}; export the bundle again")


def _median_s(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(_CALIBRATIONS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[_CALIBRATIONS // 2]
