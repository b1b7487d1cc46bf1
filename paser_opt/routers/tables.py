"""The tables routers work on: what may be seen of each patch, and, for fitting and scoring, what each model earns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Grid, PipelineConfig, PolicyConfig
from ..data import Part
from ..evaluate import image_probability
from ..models import UNet, build_policy
from ..patches import IGNORE, in_context, sampled
from ..train import ArtifactStore, Tensors, Trained, gains, routed, teacher_logits
from .features import STRIDE, Describe, Features, patch_means

__all__ = ["TEMPERATURES", "Labelled", "Seen", "labelled", "tempered"]

TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0)
"""Temperatures at which confidence is tabled; calibration chooses one a model."""


@dataclass(frozen=True)
class Seen:
    """What a router may see of N images, labels unknown."""

    features: Features  # name → (N, P, 1), of f_0's result
    confidence: Tensor  # (N, P, M, T) mean probability of f_i's top class, at each of TEMPERATURES
    observations: dict[str, Tensor]  # kind of policy → (N, D, h, w)

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, P, M."""
        n, p, m, _ = self.confidence.shape
        return n, p, m


@dataclass(frozen=True)
class Labelled:
    """The same images with what every model makes of every patch."""

    seen: Seen
    hard: Tensor  # (N, P, M, K, K) confusion matrices, row = truth
    gain: Tensor  # (N, P, M) A(f_i, p) − A(f_0, p)
    surprise: Tensor  # (M, T) mean negative log-likelihood of the truth, nats
    key: str = ""
    """names what these tables were made from"""
    copies: int = 1
    """rows that are one image: itself and its copies"""

    @property
    def image(self) -> Tensor:
        """(N,) number of the image that each row is, or is a copy of."""
        return torch.arange(len(self.hard)) // self.copies

    def routed(self, route: Tensor) -> Tensor:
        """Confusion matrices (N, K, K) of the images under routes (N, P)."""
        return routed(self.hard, route)


def tempered(log_probability: Tensor, masks: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Confidence (N, P, T) and surprise (N, T) of one model at TEMPERATURES.

    ``log_probability`` (N, K, H, W) are logits or log-probabilities; masks (N, H, W). Dividing logits by a
    temperature is the calibration of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    counted = masks != IGNORE
    truth = masks.long().masked_fill(~counted, 0)[:, None]
    confidence, surprise = [], []
    for temperature in TEMPERATURES:
        log = F.log_softmax(log_probability / temperature, dim=1)
        sure = sampled(log, grid, STRIDE).amax(dim=1, keepdim=True).exp()
        confidence.append(patch_means(sure, grid)[..., 0])
        missed = -log.gather(1, truth)[:, 0] * counted
        surprise.append(missed.sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp_min(1))
    return torch.stack(confidence, dim=-1), torch.stack(surprise, dim=-1)


def labelled(
    trained: Trained, part: Part, part_name: str, store: ArtifactStore, policies: Sequence[PolicyConfig]
) -> Labelled:
    """The tables of one part of the data ("policy", "val", "test") for the models of ``trained``, kept in ``store``.

    ``policies``, one of a kind: those whose observations are wanted; the published head's are of the images' size.
    """
    table = trained.tables(part_name)
    key = store.key(
        "seen",
        models=trained.keys,
        part=part_name,
        config=trained.config.model_dump(mode="json"),
        policies=[policy.model_dump() for policy in policies],
        stride=STRIDE,
        device=next(trained.models[0].parameters()).device.type,  # as the tables beside it
    )

    def look() -> tuple[Tensors, dict[str, object]]:
        pieces = [
            _look(trained.config, models, piece, policies) for models, piece in trained.looked_at(part_name, part)
        ]
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}, {}

    made = store.get_or_make(key, look).tensors

    def named(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): one for name, one in made.items() if name.startswith(prefix)}

    seen = Seen(named("feature "), made["confidence"], named("observation "))
    gain = gains(table.hard, table.soft, trained.config.training.reward)
    copies = trained.copies if part_name == "policy" else 1
    return Labelled(seen, table.hard, gain, made["surprise"].mean(dim=0), key, copies)


@torch.inference_mode()
def _look(config: PipelineConfig, models: Sequence[UNet], part: Part, policies: Sequence[PolicyConfig]) -> Tensors:
    """Runs every model once more, image by image: a table of logits of a whole part would not fit into memory."""
    device = next(models[0].parameters()).device
    moved = part.to(device)
    classes, channels = config.models[0].classes, config.models[0].in_channels
    observers = {
        policy.kind: build_policy(
            policy, models=len(models), grid=config.grid, classes=classes, channels=channels, seed=0
        ).to(device)
        for policy in policies
    }
    describe = Describe(config.grid)
    probability = image_probability(
        models[0], moved.images, samples=config.mc_samples, precision="fp32", seed=config.seed
    )
    rows: list[dict[str, Tensor]] = []
    for index in range(len(part)):
        image, mask, chance = moved.images[index, None], moved.masks[index, None], probability[index, None]
        scores = [chance.clamp_min(1e-12).log()]
        seen = in_context(image, chance, config.context)
        scores += [
            teacher_logits(model, seen, grid=config.grid, halo=config.halo, precision="fp32").float()
            for model in models[1:]
        ]
        confidence, surprise = zip(*(tempered(one, mask, config.grid) for one in scores), strict=True)
        row: dict[str, Tensor] = {f"feature {name}": one for name, one in describe(image, chance).items()}
        row |= {f"observation {kind}": observer.observe(image, chance) for kind, observer in observers.items()}
        row |= {"confidence": torch.stack(confidence, dim=2), "surprise": torch.stack(surprise, dim=1)}
        rows.append({name: one.cpu() for name, one in row.items()})
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
