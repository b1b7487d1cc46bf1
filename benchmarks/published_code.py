"""Every stage against the published code (PaSeR, AAAI 2024), and a search of 20 trials against 20 runs of it.

33 images of 224 × 256 in a 4 × 4 grid, the published sizes. The published code's seconds an epoch are those measured
elsewhere on 2 cores: large 69.6, medium 5.3, distillation 84.6, policy 12.0. Here each stage runs for as many epochs as
there: --epochs of the UNets, the paper's 200 of the policy, its table included. The 20 trials differ in λ, β and S.

    python benchmarks/published_code.py [--epochs 2] [--trials 20]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from paser_opt.cli.live import watching
from paser_opt.config import DataConfig, PipelineConfig, TrainConfig
from paser_opt.data import load
from paser_opt.models import PUBLISHED
from paser_opt.train import ArtifactStore, Trained, train_pipeline

IMAGES, POLICY_EPOCHS = 33, 200
THERE_S = {"pretrain f_2": 69.6, "pretrain f_1": 5.3, "distill f_0": 84.6, "policy": 12.0}
COST = (0.001, 0.06, 0.939)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args()
    training = TrainConfig(
        pretrain_epochs=options.epochs, distill_epochs=options.epochs, policy_epochs=POLICY_EPOCHS, finetune_epochs=0
    )
    made = load(DataConfig(count=IMAGES * 9, size=(224, 256)))
    first, second = (made.pretrain.take(range(start, start + IMAGES)) for start in (0, IMAGES))
    data = replace(made, pretrain=first, policy=second, finetune=made.finetune.take([]), val=made.val.take(range(8)))
    trials = itertools.islice(itertools.product((0.01, 0.1), (0, 1, 3, 5, 10), (0.5, 0.1)), options.trials)
    with tempfile.TemporaryDirectory() as folder, watching("against the published code", quiet=False) as watcher:
        store = ArtifactStore(Path(folder))

        def train(beta: float, samples: int, weight: float) -> Trained:
            config = PipelineConfig(
                models=PUBLISHED, grid=(4, 4), mc_samples=samples, cost_weight=weight, distill_weight=beta,
                training=training,
            )  # fmt: skip
            return train_pipeline(config, data, store, COST, device=torch.device("cpu"), progress=watcher)

        begun = time.monotonic()
        one = train(0.01, 5, 0.5)
        one_s = time.monotonic() - begun
        for beta, samples, weight in trials:
            train(beta, samples, weight)
        all_s = time.monotonic() - begun
    print(json.dumps(report(one, one_s, all_s, options.epochs, options.trials), indent=1))


def report(one: Trained, one_s: float, all_s: float, epochs: int, trials: int) -> dict[str, object]:
    """Seconds here and there, stage by stage."""
    # Its own seconds, and those of the tables of the images it learns from.
    policy_s = sum(seconds for stage, seconds in one.seconds.items() if stage.endswith("policy"))
    here = {
        "pretrain f_2": one.seconds["pretrain f_2"],
        "pretrain f_1": one.seconds["pretrain f_1"],
        "distill f_0": one.seconds["distill f_0"] + one.seconds["teacher logits"],
        "policy": policy_s,
    }
    there = {stage: each * (POLICY_EPOCHS if stage == "policy" else epochs) for stage, each in THERE_S.items()}
    stages = {
        stage: {"here_s": round(here[stage], 1), "there_s": round(there[stage], 1),
                "times_faster": round(there[stage] / here[stage], 1)}
        for stage in here
    }  # fmt: skip
    whole_there_s = sum(there.values())
    return {
        "epochs": epochs,
        "policy epochs": POLICY_EPOCHS,
        "torch threads": torch.get_num_threads(),
        **stages,
        "whole pipeline": {"here_s": round(one_s, 1), "there_s": round(whole_there_s, 1),
                           "times_faster": round(whole_there_s / one_s, 1)},
        f"{trials} trials": {"here_s": round(all_s, 1), "there_s": round(trials * whole_there_s, 1),
                             "times_faster": round(trials * whole_there_s / all_s, 1)},
    }  # fmt: skip


if __name__ == "__main__":
    main()
