"""The one training loop: optimiser, schedule, precision, divergence, choice of the best epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import TrainConfig
from ..errors import DivergedError
from ..models import autocast
from ..patches import IGNORE
from ..progress import Progress

__all__ = ["History", "class_weights", "fit", "generator", "pixel_loss", "seeded", "training_device"]

History = list[dict[str, float]]


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
    counted = masks != IGNORE
    total = weight[masks[counted].long()].sum().clamp_min(1e-6)
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
) -> History:
    """Train ``model`` in place for ``epochs`` × ``steps``; returns one row per epoch.

    ``loss_of_batch`` draws its own batch from the generator it is given. With ``score`` (higher is better) the
    model is scored at ``scores`` evenly spaced epochs of the second half, and the best of them is kept;
    with ``keep_start`` the model as it came is a candidate too.
    Raises DivergedError when the loss is not finite.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=config.weight_decay)
    total = epochs * steps
    warm_up = max(1, min(total // 10, 50))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))),
    )
    draw = generator(seed)
    scored = {epochs - round(i * epochs / 2 / scores) for i in range(scores)}
    history: History = []
    best_score, best = -math.inf, None
    if score and keep_start:
        model.eval()
        best_score, best = score(), _copy(model)
    progress.stage(stage, epochs)
    with seeded(seed):
        for epoch in range(1, epochs + 1):
            model.train()
            running = torch.zeros((), device=device)
            for _ in range(steps):
                with autocast(config.precision, device):
                    loss = loss_of_batch(draw)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
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
    if best is not None:
        model.load_state_dict(best)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise DivergedError(f"{stage} diverged: a weight is not finite; lower the learning rate")
    model.eval()
    return history


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
