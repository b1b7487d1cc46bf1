"""Time of the policy stage with a reward table against rerunning every model in every epoch.

The published code (PaSeR, AAAI 2024) runs all frozen models on every patch in every epoch: 12.0 s an epoch for 33
images of 224 × 256 with the published sizes on 2 cores, as measured elsewhere. Here the table of confusion matrices is
built once. Both are timed in this run, on random images (the cost does not depend on what they show):

    table + 100 epochs of the default policy   against   5 epochs that each rerun the models

    python benchmarks/policy_stage.py [--images 33] [--epochs 100]
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from paser_opt.config import PolicyConfig, TrainConfig
from paser_opt.evaluate import image_probability, patch_confusions, whole_confusions
from paser_opt.models import PUBLISHED, build_policy, build_unet
from paser_opt.patches import split, split_mask
from paser_opt.progress import Silent
from paser_opt.train.reinforce import Bandit, train_policy
from paser_opt.train.reward import gains, rewards

GRID = (4, 4)
PUBLISHED_EPOCH_S = 12.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=33)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(options.images, 1, 224, 256, generator=draw)
    masks = torch.randint(0, 3, (options.images, 224, 256), generator=draw, dtype=torch.uint8)
    models = [build_unet(config, seed=0).eval() for config in PUBLISHED]
    policy = build_policy(PolicyConfig(), models=3, grid=GRID, classes=3, channels=1, seed=0)

    def build_table(samples: int, precision: str) -> Bandit:
        probability = image_probability(models[0], images, samples=samples, precision=precision, seed=0)
        tables = [whole_confusions(probability, masks, GRID)]
        tiles, tile_masks = split(images, GRID), split_mask(masks, GRID)
        tables += [patch_confusions(one, tiles, tile_masks, 3, halo=0, precision=precision) for one in models[1:]]
        hard, soft = (torch.stack(part, dim=2) for part in zip(*tables, strict=True))
        gain = gains(hard, soft, "data_iou")
        reward = rewards(gain, torch.tensor([0.001, 0.06, 0.939]), 0.5, charge_f0=False)
        return Bandit(policy.observe(images, probability), reward)

    results = {}
    for precision in ("fp32", "auto"):
        start = time.perf_counter()
        bandit = build_table(5, precision)
        table_s = time.perf_counter() - start
        train_policy(
            policy, bandit, bandit, TrainConfig(precision=precision), grid=GRID, flips="hv", epochs=options.epochs,
            seed=0, device=torch.device("cpu"), progress=Silent(),
        )  # fmt: skip
        total_s = time.perf_counter() - start
        results[precision] = {
            "table_s": round(table_s, 2),
            "epochs_s": round(total_s - table_s, 2),
            "total_s": round(total_s, 2),
            "epochs": options.epochs,
            "rerunning_models_in_5_epochs_s": round(5 * table_s, 2),
            "published_code_5_epochs_s_elsewhere": 5 * PUBLISHED_EPOCH_S,
            "ratio_to_5_rerun_epochs": round(total_s / (5 * table_s), 3),
            "ratio_to_5_published_epochs": round(total_s / (5 * PUBLISHED_EPOCH_S), 3),
        }
    results["torch_threads"] = torch.get_num_threads()
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
