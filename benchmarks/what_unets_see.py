"""What one UNet learns from whole images and from windows of them, standardised by the data set or each by its own;
and from windows most of which lie where it misses most (``screen_crops = "hard"``).

Batch norm's running statistics fit no single image where a batch holds one and images differ: on whole images one at a
time, a UNet may learn well and fail on images it has not seen. So it may where brightness and contrast differ from one
image to the next. As many epochs of as many pixels in every row, and the test is on whole images.

    python benchmarks/what_unets_see.py [STUDY …, default ebc mudrock] [--size 8,4,0.25] [--epochs 30] [--seeds 2]

Writes docs/results/what-unets-see.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from paser_opt.catalog import load_study
from paser_opt.cli.live import watching
from paser_opt.config import Study, UNetConfig
from paser_opt.data import load
from paser_opt.evaluate import data_iou, image_confusions
from paser_opt.experiments.sheets import markdown_table
from paser_opt.progress import Progress
from paser_opt.records import write_text
from paser_opt.train import ArtifactStore, train_whole

PAGE = Path(__file__).parent.parent / "docs" / "results" / "what-unets-see.md"
ROWS = [
    *((side, batch, kind, "random") for side, batch in ((1, 2), (4, 4)) for kind in ("dataset", "image")),
    (4, 4, "dataset", "hard"),
]
"""(windows a side, windows in a batch, standardised by, where windows lie)"""
SAYS = {"dataset": "the training images' mean and std", "image": "each image's own"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["ebc", "mudrock"])
    parser.add_argument("--size", default="8,4,0.25", help="base, depth and input scale")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    with watching("what UNets see", quiet=False) as watcher:
        parts = [section(load_study(one), options, watcher) for one in options.studies]
    command = f"python benchmarks/what_unets_see.py {' '.join(options.studies)} --size {options.size}"
    text = (
        f"# What UNets see\n\nWritten by `{command} --epochs {options.epochs} --seeds {options.seeds}`; not edited.\n\n"
        "One UNet, trained on whole images and on windows of them, standardised in two ways; as many pixels in every "
        "row, scored on whole images.\n\n" + "\n\n".join(parts) + "\n"
    )
    write_text(PAGE, text)
    print(text)


def section(study: Study, options: argparse.Namespace, progress: Progress) -> str:
    """The study's table."""
    base, depth, scale = options.size.split(",")
    rows = []
    for side, batch, kind, crops in ROWS:
        training = study.training.model_copy(
            update={"windows": (side, side), "distill_batch": batch, "screen_crops": crops,
                    "distill_epochs": options.epochs,
                    "pretrain_epochs": 1, "finetune_epochs": 0}
        )  # fmt: skip
        found, begun = [], time.monotonic()
        for seed in range(options.seeds):
            data = load(study.data.model_copy(update={"seed": study.data.seed + seed, "standardise": kind}))
            size = UNetConfig(
                base=int(base), depth=int(depth), scale=float(scale), norm=study.norm, dropout=study.dropout,
                in_channels=data.channels, classes=data.classes,
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                model = train_whole(
                    size, data, training, ArtifactStore(Path(folder)), seed=seed, device=torch.device("cpu"),
                    progress=progress,
                ).model  # fmt: skip
            parts = (data.val, data.test)
            found.append([data_iou(image_confusions(model, one.images, one.masks, precision="fp32")) for one in parts])
        taken = (time.monotonic() - begun) / options.seeds
        what = "whole images" if side == 1 else f"windows of 1/{side} x 1/{side}"
        what += ", most where it misses most" if crops == "hard" else ""
        means = [sum(column) / len(column) for column in zip(*found, strict=True)]
        each = [" ".join(f"{one:.3f}" for one in column) for column in zip(*found, strict=True)]
        rows.append(
            [
                what,
                str(batch),
                SAYS[kind],
                f"{means[0]:.3f} ({each[0]})",
                f"{means[1]:.3f} ({each[1]})",
                f"{taken:.0f} s",
            ]
        )
    heads = [
        "trained on",
        "in a batch",
        "standardised by",
        "IoU, val (each seed)",
        "IoU, test (each seed)",
        "a seed took",
    ]
    return (
        f"## {study.name}\n\nBase {base}, depth {depth}, input scale {scale}, norm {study.norm}; {len(data.training)} "
        f"training images of {data.height} x {data.width}, {options.epochs} epochs; {len(data.val)} images of val and "
        f"{len(data.test)} of test.\n\n{markdown_table(heads, rows)}"
    )


if __name__ == "__main__":
    main()
