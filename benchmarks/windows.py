"""What one UNet learns from whole images, and from windows of them, in the same number of epochs.

Batch norm's running statistics fit no single image where a batch holds one and images differ: on whole images one at a
time, a UNet may learn well and fail on images it has not seen. The test is on whole images in every row.

    python benchmarks/windows.py [STUDY, default ebc] [--size 8,4,0.25] [--epochs 40] [--seeds 1]

Writes docs/results/windows.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from paser_opt.catalog import load_study
from paser_opt.cli.live import watching
from paser_opt.config import UNetConfig
from paser_opt.data import load
from paser_opt.evaluate import data_iou, image_probability
from paser_opt.experiments.sheets import markdown_table
from paser_opt.patches import confusion, hard_labels
from paser_opt.records import write_text
from paser_opt.train import ArtifactStore, train_whole

PAGE = Path(__file__).parent.parent / "docs" / "results" / "windows.md"
ROWS = ((1, 1), (1, 2), (2, 2), (4, 4))
"""(windows a side, windows in a batch)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="ebc")
    parser.add_argument("--size", default="8,4,0.25", help="base, depth and input scale")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    study = load_study(options.study)
    base, depth, scale = options.size.split(",")
    rows = []
    with tempfile.TemporaryDirectory() as folder, watching("whole images against windows", quiet=False) as watcher:
        for side, batch in ROWS:
            training = study.training.model_copy(
                update={"windows": (side, side), "distill_batch": batch, "distill_epochs": options.epochs,
                        "pretrain_epochs": 1, "finetune_epochs": 0}
            )  # fmt: skip
            found, begun = [], time.monotonic()
            for seed in range(options.seeds):
                data = load(study.data.model_copy(update={"seed": study.data.seed + seed}))
                size = UNetConfig(
                    base=int(base), depth=int(depth), scale=float(scale), norm=study.norm, dropout=study.dropout,
                    in_channels=data.channels, classes=data.classes,
                )  # fmt: skip
                model, _ = train_whole(
                    size, data, training, ArtifactStore(Path(folder)), seed=seed, device=torch.device("cpu"),
                    progress=watcher,
                )  # fmt: skip
                for part in (data.val, data.test):
                    chance = image_probability(model, part.images, samples=0, precision="fp32", seed=0)
                    found.append(data_iou(confusion(hard_labels(chance), part.masks, data.classes)))
            taken = (time.monotonic() - begun) / options.seeds
            val, test = (sum(found[i::2]) / options.seeds for i in (0, 1))
            what = "whole images" if side == 1 else f"windows of 1/{side} x 1/{side}"
            rows.append([what, str(batch), f"{val:.3f}", f"{test:.3f}", f"{taken:.0f} s"])
    table = markdown_table(["trained on", "in a batch", "IoU, val", "IoU, test", "seconds a seed"], rows)
    command = f"python benchmarks/windows.py {study.name} --size {options.size} --epochs {options.epochs}"
    text = (
        f"# Whole images against windows\n\nWritten by `{command} --seeds {options.seeds}`; not edited.\n\n"
        f"One UNet of base {base}, depth {depth}, input scale {scale}, norm {study.norm}, on the study {study.name}: "
        f"{len(data.training)} training images of {data.height} x {data.width}, {options.epochs} epochs of as many "
        f"pixels each. Scored on whole images, {len(data.val)} of val and {len(data.test)} of test.\n\n{table}\n"
    )
    write_text(PAGE, text)
    print(text)


if __name__ == "__main__":
    main()
