"""The one training loop: optimiser, schedule, precision, divergence, choice of the best epoch, a stop on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import TrainConfig
from ..errors import DivergedError
from ..models import autocast
from ..patches import IGNORE
from ..progress import Progress

__all__ = [
    "WHOLE",
    "Fitted",
    "History",
    "Left",
    "Span",
    "class_weights",
    "fit",
    "generator",
    "pixel_loss",
    "seeded",
    "training_device",
]

History = list[dict[str, float]]


@dataclass(frozen=True)
class Left:
    """Where a training stopped on its way: weights, the optimiser's moments, random states, the best epoch so far."""

    tensors: Mapping[str, Tensor]
    history: History


@dataclass(frozen=True)
class Span:
    """Which part of a training to run: until ``share`` of its epochs are done, from where it was ``left``."""

    share: float = 1.0
    left: Left | None = None

    def last(self, epochs: int) -> int:
        """The epoch, of ``epochs`` in all, with which this part ends."""
        return max(1, round(self.share * epochs)) if self.share < 1 else epochs


WHOLE = Span()


@dataclass(frozen=True)
class Fitted:
    """Losses and scores by epoch; where the training was left, or None at its end."""

    history: History
    left: Left | None


def training_device() -> torch.device:
    """CUDA, MPS or CPU, as found."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def generator(seed: int) -> torch.Generator:
    """A CPU generator; all draws of a stage come from one, so a stage depends on its seed alone."""
    return torch.Generator().manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global random state (dropout draws from it) set to ``seed`` inside, as it was outside."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def class_weights(masks: Tensor, classes: int, kind: str) -> Tensor:
    """(classes,) weights of the cross-entropy with mean 1, from the classes' shares in ``masks``."""
    if kind == "none":
        return torch.ones(classes)
    frequency = torch.bincount(masks.cpu().flatten(), minlength=256)[:classes].float()
    present = frequency > 0
    weight = torch.zeros(classes)
    weight[present] = (frequency.sum() / frequency[present]) ** (0.5 if kind == "sqrt" else 1.0)
    return weight * present.sum() / weight.sum()


def pixel_loss(logits: Tensor, masks: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy of logits (N, K, H, W) and masks (N, H, W); 0, not NaN, where all is IGNOREd."""
    counted = torch.bincount(masks.flatten(), minlength=IGNORE + 1)[: len(weight)]  # pixels of each class
    total = (counted * weight).sum().clamp_min(1e-6)
    return F.cross_entropy(logits.float(), masks.long(), weight, ignore_index=IGNORE, reduction="sum") / total


def fit(
    model: nn.Module,
    loss_of_batch: Callable[[torch.Generator], Tensor],
    *,
    stage: str,
    epochs: int,
    steps: int,
    learning_rate: float,
    config: TrainConfig,
    device: torch.device,
    seed: int,
    progress: Progress,
    score: Callable[[], float] | None = None,
    scores: int = 4,
    keep_start: bool = False,
    span: Span = WHOLE,
    between: Callable[[], None] = lambda: None,
) -> Fitted:
    """Train ``model`` in place for ``epochs`` × ``steps``, or the ``span`` of them; one row of history per epoch.

    ``loss_of_batch`` draws its own batch from the generator it is given. With ``score`` (higher is better) the
    model is scored at ``scores`` evenly spaced epochs of the second half, and the best of them is kept;
    with ``keep_start`` the model as it came is a candidate too. The learning rate warms up and falls as a cosine over
    all ``epochs``, whatever the span, so that a training that goes on from where it was left ends, bit for bit, where
    one without a stop does. ``between`` is called before each epoch but the first, the model in eval mode. Raises
    DivergedError when the loss is not finite.
    """
    # Fused, it wants its step counts on the GPU, where a training that goes on from the store does not have them.
    fused = device.type == "cpu"
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=config.weight_decay, fused=fused)
    total, last = epochs * steps, span.last(epochs)
    warm_up = max(1, min(total // 10, 50))
    draw = generator(seed)
    scored = {epochs - round(i * epochs / 2 / scores) for i in range(scores)}
    history: History = []
    best_score, best = -math.inf, None
    if score and keep_start:
        model.eval()
        best_score, best = score(), _copy(model)
    progress.stage(stage, last)
    with seeded(seed):
        if span.left:
            history = list(span.left.history)
            best_score, best = _take_up(span.left.tensors, model, optimiser, draw, device)
        for epoch in range(len(history) + 1, last + 1):
            if epoch > 1:
                model.eval()
                between()
            model.train()
            running = torch.zeros((), device=device)
            for step in range((epoch - 1) * steps, epoch * steps):
                rate = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / total))
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate * rate
                with autocast(config.precision, device):
                    loss = loss_of_batch(draw)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                running += loss.detach()
            mean = running.item() / steps
            if not math.isfinite(mean):
                raise DivergedError(f"{stage} diverged in epoch {epoch}: the loss is {mean}; lower the learning rate")
            row = {"epoch": float(epoch), "loss": mean}
            if score and epoch in scored:
                model.eval()
                row["score"] = score()
                if row["score"] > best_score:
                    best_score, best = row["score"], _copy(model)
            history.append(row)
            progress.advance(epoch, f"loss {mean:.3f}" + (f", val {row['score']:.3f}" if "score" in row else ""))
        left = Left(_leave(model, optimiser, draw, device, best_score, best), history) if last < epochs else None
    if best is not None:
        model.load_state_dict(best)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise DivergedError(f"{stage} diverged: a weight is not finite; lower the learning rate")
    model.eval()
    return Fitted(history, left)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _leave(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    draw: torch.Generator,
    device: torch.device,
    best_score: float,
    best: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    """All that :func:`_take_up` needs, as tensors."""
    state = {f"model.{name}": value for name, value in _copy(model).items()}
    state |= {f"best.{name}": value for name, value in (best or {}).items()}
    for index, parameter in enumerate(model.parameters()):
        state |= {f"adam.{index}.{name}": value for name, value in optimiser.state[parameter].items()}
    state |= {"best_score": torch.tensor(best_score, dtype=torch.float64), "draw": draw.get_state()}
    state["random"] = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    return state


def _take_up(
    state: Mapping[str, Tensor],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    draw: torch.Generator,
    device: torch.device,
) -> tuple[float, dict[str, Tensor] | None]:
    """Everything as :func:`_leave` left it; the best score so far and its weights."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    model.load_state_dict(under("model."))
    for index, parameter in enumerate(model.parameters()):
        moments = under(f"adam.{index}.")
        optimiser.state[parameter] = {
            name: value if name == "step" else value.to(parameter.device) for name, value in moments.items()
        }
    draw.set_state(state["draw"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["random"], device)
    else:
        torch.set_rng_state(state["random"])
    return state["best_score"].item(), under("best.") or None
