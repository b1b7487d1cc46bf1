"""A single UNet trained on whole images: the rival of every route."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..config import TrainConfig, UNetConfig
from ..data import Part, SegmentationData
from ..models import UNet, build_unet
from ..progress import Progress
from .artifacts import ArtifactStore
from .pretrain import pretrain

__all__ = ["train_whole"]

_GAINING = 0.01  # IoU on val from the last scores but one to the last


def train_whole(
    config: UNetConfig,
    data: SegmentationData,
    training: TrainConfig,
    store: ArtifactStore,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> tuple[UNet, bool]:
    """The UNet with its best epoch on val, and whether it had converged: its last epochs gained it no more IoU.

    It sees all training images, D_PT, D_RL and D_FT, in as many epochs as the pipeline's UNets do between them.
    Raises DivergedError.
    """
    epochs = training.pretrain_epochs + training.distill_epochs + training.finetune_epochs
    longer = training.model_copy(
        update={"pretrain_epochs": epochs, "pretrain_batch": training.distill_batch, "crops": "random"}
    )
    fields = ("pretrain_epochs", "pretrain_batch", "learning_rate", "weight_decay", "class_weights", "precision")
    key = store.key(
        "whole", data=data.fingerprint, flips=data.flips, seed=seed, device=device.type, model=config.model_dump(),
        **{field: getattr(longer, field) for field in fields},
    )  # fmt: skip
    model = build_unet(config, seed=seed).to(device)

    def make() -> tuple[dict[str, torch.Tensor], dict[str, object]]:
        everything = replace(data, pretrain=_joined(data.pretrain, data.policy, data.finetune))
        name = f"whole images, base {config.base} depth {config.depth} scale {config.scale:g}"
        history = pretrain(model, everything, longer, grid=(1, 1), halo=0, name=name, seed=seed, device=device,
                           progress=progress).history  # fmt: skip
        return model.state_dict(), {"history": history}

    artifact = store.get_or_make(key, make)
    model.load_state_dict(artifact.tensors)
    return model.eval(), _converged(artifact.notes["history"])


def _converged(history: list[dict[str, float]]) -> bool:
    scores = [row["score"] for row in history if "score" in row]
    return len(scores) > 1 and scores[-1] - max(scores[:-1]) < _GAINING


def _joined(*parts: Part) -> Part:
    return Part(
        torch.cat([part.images for part in parts]),
        torch.cat([part.masks for part in parts]),
        tuple(name for part in parts for name in part.names),
    )
