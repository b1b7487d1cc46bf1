"""All stages in order, each taken from the store where it has been made before.

    pretrain f_1 … f_m ─→ teacher logits ─→ distill f_0 ─→ tables ─→ policy ─→ fine-tune ─→ tables ─→ policy

Where f_1 … see what f_0 made of the image, f_0 comes first, without a teacher. At a rung pretraining and distillation
stop on their way, at a share of their epochs, or all stops before fine-tuning; the next rung goes on from there.

Keys name only what a stage depends on: trials that differ in λ share everything before the policy, trials that
differ in β share pretraining, and a model's table is shared by every family it is part of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..config import PipelineConfig
from ..data import Part, SegmentationData
from ..models import build_policy, build_unet
from ..patches import patch_size
from ..progress import Progress
from .artifacts import ArtifactStore, Tensors
from .distill import distill, distill_key, teacher_logits
from .finetune import finetune
from .loop import History
from .pretrain import pretrain
from .stages import Stages
from .table import Table, everywhere, screened, with_context
from .trained import Trained

__all__ = ["restore_pipeline", "train_pipeline", "train_unets"]


class _Trainer(Stages):
    """One run through the stages of PaSeR; holds what they share."""

    def __init__(
        self,
        config: PipelineConfig,
        data: SegmentationData,
        store: ArtifactStore,
        cost_per_patch: Sequence[float],
        device: torch.device,
        progress: Progress,
        shares: Sequence[float] = (1.0,),
        tuned: bool = True,
        fold: str = "",
    ) -> None:
        super().__init__(store, device, shares)
        self.config, self.data, self.progress, self.tuned = config, data, progress, tuned
        self.training = config.training
        self.models = [build_unet(model, seed=config.seed + i).to(device) for i, model in enumerate(config.models)]
        self.policy = build_policy(
            config.policy,
            models=len(config.models),
            grid=config.grid,
            classes=data.classes,
            channels=data.channels,
            seed=config.seed,
        ).to(device)
        self.out = Trained(config, self.models, self.policy, torch.tensor(cost_per_patch), self.table,
                           seconds=self.seconds, histories=self.histories, copies=data.copies)  # fmt: skip
        self.shape = patch_size(data.height, data.width, config.grid)
        # What every stage depends on; the tables and the teacher add the grid.
        self.common = {"data": data.fingerprint, "flips": data.flips, "seed": config.seed}
        if fold:  # its data bear the fingerprint of the whole
            self.common["fold"] = fold
        self.model_keys = [""] * len(self.models)
        self._tables: dict[tuple[str, ...], Table] = {}
        if data.folds:
            self.out.folds = lambda: [(one.models, one.data.policy) for one in self.fold_trainers]

    def fields(self, *names: str) -> dict[str, Any]:
        """The training fields a stage depends on."""
        return {name: getattr(self.training, name) for name in names}

    # --- stages ---------------------------------------------------------------------------------------

    def train_models(self) -> None:
        if self.config.screen_first:
            self.distill()
        for index in range(1, len(self.models)):
            self.pretrain(index)
        if not self.config.screen_first:
            self.distill()

    def run(self) -> Trained:
        self.train_models()
        self.train_policy("policy", self.training.policy_epochs)
        if self.tuned and self.training.finetune_epochs and len(self.data.finetune):
            self.finetune()
        names = [f"f_{index}" for index in range(len(self.models))]
        self.out.keys.update(zip(names, self.model_keys, strict=True))
        return self.out

    def restore(self, keys: Mapping[str, str], *, retrain_policy: bool) -> Trained:
        """Bring models and policy to what lies in the store under ``keys``."""
        models = {f"f_{index}": model for index, model in enumerate(self.models)}
        self.store.restore({**models, "policy": self.policy}, keys)
        self.model_keys = [keys[name] for name in models]
        self.out.keys.update(keys)
        if retrain_policy:
            self.continue_policy("policy for other costs", start=keys["policy"])
        return self.out

    def pretrain(self, index: int) -> None:
        config = self.config
        key = self.store.key(
            "pretrain",
            **self.common,
            model=config.models[index].model_dump(),
            index=index,
            screen=self.model_keys[0],
            patch=self.shape,
            halo=config.halo,
            grid=config.grid if self.training.crops == "grid" else None,
            val_grid=config.grid,
            **self.fields(
                "pretrain_epochs", "pretrain_batch", "learning_rate", "weight_decay", "class_weights", "crops",
                "start", "precision",
            ),
        )  # fmt: skip
        self.model_keys[index] = self.trained_in_part(
            f"pretrain f_{index}",
            key,
            self.training.pretrain_epochs,
            self.models[index],
            lambda span: pretrain(
                self.models[index], self.shown(index, self.seen), self.training, grid=config.grid, halo=config.halo,
                name=f"f_{index}", seed=config.seed + index, device=self.device, progress=self.progress, span=span,
                screen=self.models[0],
            ),
        )  # fmt: skip

    def shown(self, index: int, data: SegmentationData) -> SegmentationData:
        """What of ``data`` f_index trains on: all, or the images under the corruption that it is trained for."""
        corruption = self.config.models[index].corruption
        return data if corruption is None else data.under(corruption)

    @cached_property
    def seen(self) -> SegmentationData:
        """The data as f_1 … see them in training: with f_0's probabilities of one plain pass.

        One plain pass whatever S is, so that trials that differ in S share what is trained on it; tables are made
        with the S passes of the pipeline.
        """
        data = self.data
        if self.config.context == "none":
            return data
        pretrain, finetune, val = (
            with_context(self.models[0], part.to(self.device), self.config, samples=0)
            for part in (data.pretrain, data.finetune, data.val)
        )
        return replace(data, pretrain=pretrain, finetune=finetune, val=val)

    @cached_property
    def fold_trainers(self) -> list[_Trainer]:
        """For each fold a trainer whose UNets have been trained on the others: the reward is not to be taken on images
        that a UNet was trained on, where it looks better than it is."""
        found = []
        for number, data in enumerate(self.data.without_folds()):
            self.progress.stage(f"fold {number + 1} of {self.data.folds}", 1)
            one = _Trainer(self.config, data, self.store, self.out.cost_per_patch.tolist(), self.device, self.progress,
                           self.shares, fold=f"{number} of {self.data.folds}")  # fmt: skip
            one.train_models()
            self.seconds["folds"] = self.seconds.get("folds", 0.0) + sum(one.seconds.values())
            found.append(one)
        return found

    def teacher(self) -> tuple[str, Tensor]:
        config = self.config
        key = self.store.key(
            "teacher", model=self.model_keys[-1], grid=config.grid, halo=config.halo, shown=config.models[0].corruption
        )

        def make() -> tuple[Tensors, dict[str, Any]]:
            self.progress.stage("teacher logits", 1)
            images = self.shown(0, self.data).pretrain.images.to(self.device)
            logits = teacher_logits(
                self.models[-1], images, grid=config.grid, halo=config.halo, precision=self.training.precision
            )
            return {"logits": logits}, {}

        return key, self.stage("teacher logits", key, make)["logits"]

    def distill(self) -> None:
        config, beta = self.config, self.config.distill_weight
        teacher_key, logits = self.teacher() if beta > 0 else ("", None)
        key = distill_key(
            self.store, self.common, config.models[0], self.training, distill_weight=beta, teacher=teacher_key
        )
        self.model_keys[0] = self.trained_in_part(
            "distill f_0",
            key,
            self.training.distill_epochs,
            self.models[0],
            lambda span: distill(
                self.models[0], logits, self.shown(0, self.data), self.training, distill_weight=beta, seed=config.seed,
                device=self.device, progress=self.progress, span=span,
            ),
        )  # fmt: skip

    def train_policy(self, name: str, epochs: int, *, keep_start: bool = False, start: str = "") -> None:
        config = self.config
        key = self.store.key(
            "policy",
            **self.common,
            models=self.model_keys,
            start=start,
            epochs=epochs,
            folds=self.data.folds,
            policy=config.policy.model_dump(),
            cost=self.out.cost_per_patch.tolist(),
            **{field: getattr(config, field) for field in ("grid", "halo", "mc_samples", "cost_weight")},
            **self.fields(
                "policy_learning_rate", "policy_objective", "entropy_bonus", "reward", "charge_f0", "weight_decay",
                "precision",
            ),
        )  # fmt: skip

        def train() -> History:
            return self.out.learn(
                epochs=epochs, flips=self.data.flips, progress=self.progress, stage=name, keep_start=keep_start
            )

        self.trained(name, key, self.policy, train)
        self.out.keys["policy"] = key

    def finetune(self) -> None:
        """Fine-tune every f_i on what is sent to it, then let the policy see what has become of them.

        The policy goes on learning on D_RL, which no f_i was trained on: a reward taken on patches that a model
        was just trained on flatters it.
        """
        config, policy_key = self.config, self.out.keys["policy"]
        route, val_route = self.out.route(self.table("finetune")), self.out.route(self.table("val"))
        before = list(self.model_keys)
        for index in range(1, len(self.models)):
            key = self.store.key(
                "finetune",
                model=before[index],
                policy=policy_key,
                grid=config.grid,
                **self.fields("finetune_epochs", "finetune_learning_rate", "class_weights", "precision"),
            )
            self.trained(
                f"fine-tune f_{index}",
                key,
                self.models[index],
                lambda index=index: finetune(  # type: ignore[misc]
                    self.models[index], route == index, val_route == index, self.seen, self.training,
                    grid=config.grid, halo=config.halo, name=f"f_{index}", seed=config.seed + index,
                    device=self.device, progress=self.progress,
                ),
                before=before[index],
            )  # fmt: skip
            # A model that was left as it was keeps its key, and with it its tables.
            if self.histories.get(f"fine-tune f_{index}"):
                self.model_keys[index] = key
        if self.model_keys == before:
            return
        self.continue_policy("policy after fine-tuning", start=policy_key)

    def continue_policy(self, name: str, *, start: str) -> None:
        """Let the policy with key ``start`` see what has become of the models, or of what they cost."""
        epochs = max(1, self.training.policy_epochs // 2)
        self.train_policy(name, epochs, keep_start=True, start=start)

    # --- tables ---------------------------------------------------------------------------------------

    def table(self, part_name: str) -> Table:
        """The table of one part of the data ("policy", "finetune", "val", "test") for the models as they are.

        What scores (val, test) is computed in fp32, as the deployed pipeline computes; what trains, as it trains.
        """
        at = (part_name, *self.model_keys)
        if at in self._tables:
            return self._tables[at]
        if self.data.folds and part_name == "policy":
            self._tables[at] = Table.joined([one.table("policy") for one in self.fold_trainers])
            return self._tables[at]
        part: Part = getattr(self.data, part_name)
        precision = "fp32" if part_name in ("val", "test") else self.training.precision
        first = self.small_table(part_name, part, precision)
        rest = [self.model_table(index, part_name, part, precision) for index in range(1, len(self.models))]
        table = Table(
            hard=torch.stack([one["hard"] for one in (first, *rest)], dim=2),
            soft=torch.stack([one["soft"] for one in (first, *rest)], dim=2),
            observation=first["observation"],
        )
        self._tables[at] = table
        return table

    def small_table(self, part_name: str, part: Part, precision: str) -> dict[str, Tensor]:
        """f_0's confusion matrices and the policy's observation."""
        config = self.config
        key = self.store.key(
            "screen",
            model=self.model_keys[0],
            part=part_name,
            samples=config.mc_samples,
            grid=config.grid,
            policy=config.policy.kind,
            stride=config.policy.stride,
            every=config.policy.every,
            precision=precision,
            device=self.device.type,  # a table has the rounding of where it was computed
        )

        def make() -> tuple[Tensors, dict[str, Any]]:
            self.progress.stage(f"table f_0 {part_name}", 1)
            moved = part.to(self.device)
            return screened(self.models[0], self.policy, moved, config, precision=precision), {}

        return self.stage(f"table f_0 {part_name}", key, make)

    def model_table(self, index: int, part_name: str, part: Part, precision: str) -> dict[str, Tensor]:
        """Confusion matrices of f_i on every patch."""
        config = self.config
        key = self.store.key(
            "table",
            model=self.model_keys[index],
            screen=[self.model_keys[0], config.mc_samples] if config.context == "screen" else [],
            part=part_name,
            grid=config.grid,
            halo=config.halo,
            precision=precision,
            device=self.device.type,
        )

        def make() -> tuple[Tensors, dict[str, Any]]:
            self.progress.stage(f"table f_{index} {part_name}", 1)
            moved = with_context(self.models[0], part.to(self.device), config, samples=config.mc_samples)
            return everywhere(self.models[index], moved, config, classes=self.data.classes, precision=precision), {}

        return self.stage(f"table f_{index} {part_name}", key, make)


def train_pipeline(
    config: PipelineConfig,
    data: SegmentationData,
    store: ArtifactStore,
    cost_per_patch: Sequence[float],
    *,
    device: torch.device,
    progress: Progress,
    shares: Sequence[float] = (1.0,),
    tuned: bool = True,
) -> Trained:
    """Run every stage of PaSeR for ``config``.

    ``cost_per_patch`` is C of Eq. 3, one figure a model (see cost.predict). ``shares`` of the epochs, rising: trained
    is to the last of them, going on from what the store holds of the others. Not ``tuned``: without fine-tuning. Raises
    DivergedError.
    """
    return _Trainer(config, data, store, cost_per_patch, device, progress, shares, tuned).run()


def train_unets(
    config: PipelineConfig,
    data: SegmentationData,
    store: ArtifactStore,
    *,
    device: torch.device,
    progress: Progress,
) -> None:
    """The UNets of ``config`` into ``store``, those of its folds too: all that does not depend on what anything costs.

    Fine-tuning does: it comes after the policy. Raises DivergedError.
    """
    trainer = _Trainer(config, data, store, [0.0] * len(config.models), device, progress)
    trainer.train_models()
    if data.folds:
        _ = trainer.fold_trainers


def restore_pipeline(
    config: PipelineConfig,
    data: SegmentationData,
    store: ArtifactStore,
    cost_per_patch: Sequence[float],
    keys: Mapping[str, str],
    *,
    device: torch.device,
    progress: Progress,
    retrain_policy: bool = False,
) -> Trained:
    """A pipeline trained before, from its weights in ``store`` (part → key, as a trial records them).

    Nothing trains, unless to ``retrain_policy``: the policy then goes on from where it was, half as long again, for
    this ``cost_per_patch``; the UNets stay. Tables are looked up, or made. Raises RunError where weights are gone,
    DivergedError.
    """
    trainer = _Trainer(config, data, store, cost_per_patch, device, progress)
    return trainer.restore(keys, retrain_policy=retrain_policy)
