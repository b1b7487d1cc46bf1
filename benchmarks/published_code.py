"""Every stage against the published code (PaSeR, AAAI 2024), and a search of 20 trials against 20 runs of it.

33 images of 224 × 256 in a 4 × 4 grid, the published sizes. The published code's seconds an epoch are those measured
elsewhere on 2 cores: large 69.6, medium 5.3, distillation 84.6, policy 12.0. Here each stage runs for as many epochs as
there: --epochs of the UNets, the paper's 200 of the policy, its table included. The 20 trials differ in λ, β and S.

    python benchmarks/published_code.py [--epochs 2] [--trials 20]

Writes docs/results/published-code.md.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from paser_opt.catalog import load_device
from paser_opt.cli.live import watching
from paser_opt.config import DataConfig, PipelineConfig, TrainConfig
from paser_opt.cost import open_bench
from paser_opt.data import load
from paser_opt.models import PUBLISHED
from paser_opt.records import write_text
from paser_opt.train import ArtifactStore, Trained, train_pipeline

PAGE = Path(__file__).parent.parent / "docs" / "results" / "published-code.md"
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
    processor = open_bench(load_device("cpu")).machine.processor
    page = report(one, one_s, all_s, options.epochs, options.trials, processor)
    write_text(PAGE, page)
    print(page)


def report(one: Trained, one_s: float, all_s: float, epochs: int, trials: int, processor: str) -> str:
    """The page: seconds here and there, stage by stage."""
    here = {
        "pretrain f_2": one.seconds["pretrain f_2"],
        "pretrain f_1": one.seconds["pretrain f_1"],
        "distill f_0": one.seconds["distill f_0"] + one.seconds["teacher logits"],
        # Its own seconds, and those of the tables of the images it learns from.
        "policy": sum(seconds for stage, seconds in one.seconds.items() if stage.endswith("policy")),
    }
    there = {stage: each * (POLICY_EPOCHS if stage == "policy" else epochs) for stage, each in THERE_S.items()}
    whole_there_s = sum(there.values())
    rows = [
        *((stage, POLICY_EPOCHS if stage == "policy" else epochs, here[stage], there[stage]) for stage in here),
        ("whole pipeline", "", one_s, whole_there_s),
        (f"{trials} trials of λ, β and S", "", all_s, trials * whole_there_s),
    ]
    short_s = sum(THERE_S.values()) * epochs
    return "\n".join([
        "# Against the published code",
        "",
        f"`python benchmarks/published_code.py --epochs {epochs} --trials {trials}` wrote this page, on {processor}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads.",
        "",
        f"{IMAGES} images of 224 × 256 in a 4 × 4 grid, the published sizes. The published code's seconds were",
        "measured elsewhere on 2 cores, one epoch of each stage, and are multiplied by the epochs; another machine's",
        "cores may differ. Its policy's epochs run all models on all images again; here they run on the tables, whose",
        "making is counted. Distillation includes the teacher's outputs, made once.",
        "",
        "| stage | epochs | published code, s | here, s | times faster |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {stage} | {count} | {slow:.1f} | {fast:.1f} | {slow / fast:.1f} |" for stage, count, fast, slow in rows),
        "",
        f"Were the published policy trained for only {epochs} epochs too, its pipeline would take {short_s:.0f} s, "
        f"{short_s / one_s:.1f} times as long as the one here with all {POLICY_EPOCHS}.",
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
