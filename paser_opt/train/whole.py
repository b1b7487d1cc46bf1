"""A single UNet trained on all training images: the rival of every route."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from ..config import TrainConfig, UNetConfig
from ..data import SegmentationData
from ..models import UNet, build_unet
from ..progress import Progress
from .artifacts import ArtifactStore
from .distill import distill, distill_key
from .stages import TRAINED_ON, TRAINED_S, place

__all__ = ["Single", "converged", "train_whole", "whole_epochs"]

_GAINING = 0.01  # IoU on val from the last scores but one to the last


@dataclass(frozen=True)
class Single:
    """A single UNet with its best epoch on val."""

    model: UNet
    epochs: int
    trained_s: float  # seconds its training took, when it was made
    trained_on: str  # where: see stages.place
    converged: bool  # its last epochs gained it no more IoU


def train_whole(
    config: UNetConfig,
    data: SegmentationData,
    training: TrainConfig,
    store: ArtifactStore,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    epochs: int | None = None,
) -> Single:
    """A UNet trained as f_0 is without a teacher, on all training images.

    It trains for ``epochs``; None: as many as the UNet of a pipeline that has most. An f_0 of the same size that saw
    the same images as often is the same UNet, and shares its place in the store. Raises DivergedError.
    """
    epochs = epochs or whole_epochs(training)
    longest = training.model_copy(update={"distill_epochs": epochs})
    common = {"data": data.fingerprint, "flips": data.flips, "seed": seed}
    if not data.folds:
        common["images"] = "all"
    model = build_unet(config, seed=seed).to(device)

    def make() -> tuple[dict[str, torch.Tensor], dict[str, object]]:
        everything = replace(data, pretrain=data.training)
        name = f"whole images, base {config.base} depth {config.depth} scale {config.scale:g}"
        begun = time.monotonic()
        history = distill(model, None, everything, longest, distill_weight=0.0, seed=seed, device=device,
                          progress=progress, stage=name).history  # fmt: skip
        took_s = time.monotonic() - begun
        return model.state_dict(), {"history": history, TRAINED_S: took_s, TRAINED_ON: place(device)}

    artifact = store.get_or_make(distill_key(store, common, config, longest), make)
    model.load_state_dict(artifact.tensors)
    history = artifact.notes["history"]
    notes = artifact.notes
    return Single(model.eval(), len(history), notes[TRAINED_S], notes[TRAINED_ON], converged(history))


def whole_epochs(training: TrainConfig) -> int:
    """Those of the UNet of a pipeline that has most."""
    return max(training.pretrain_epochs, training.distill_epochs) + training.finetune_epochs


def converged(history: list[dict[str, float]]) -> bool:
    """Whether the last scored epochs gained no more IoU on val."""
    scores = [row["score"] for row in history if "score" in row]
    return len(scores) > 1 and scores[-1] - max(scores[:-1]) < _GAINING
