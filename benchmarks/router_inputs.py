"""Which inputs and which images tell best what a patch gains: rankings of test patches at equal numbers of patches.

Ridge regression of the gain, as priced gains are fitted (train/priced.py), on what the policy sees, in cells of several
sizes, with f_0's own features beside it, and from more images; against entropy, random routes, and hindsight. Deciding
is taken as free. Pipelines of two models only: then a ranking is a router.

    python benchmarks/router_inputs.py RUN … [--seeds 5]

A RUN is what `paser-opt record` leaves: UNets of further seeds are taken from its store, or trained into it. Writes
docs/results/router-inputs.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from paser_opt.catalog import load_device
from paser_opt.cli.live import watching
from paser_opt.config import Grid, PolicyConfig
from paser_opt.data import Part
from paser_opt.evaluate import class_iou, image_probability
from paser_opt.experiments.sheets import markdown_table
from paser_opt.models import PricedPolicy, UNet, build_policy
from paser_opt.progress import Progress
from paser_opt.records import write_text
from paser_opt.report.choice import routing_trial
from paser_opt.runs import RunFolder
from paser_opt.search.pipelines import trial_pipeline
from paser_opt.train import ArtifactStore, Table, Trained, fit_priced, gains, train_pipeline

PAGE = Path(__file__).parent.parent / "docs" / "results" / "router-inputs.md"
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
CELLS_PX = (4, 8, 16)
Inputs = Callable[[Table, Part], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with watching("router inputs", quiet=False) as watcher:
        parts = [section(RunFolder.open(path), options.seeds, watcher) for path in options.runs]
    command = f"python benchmarks/router_inputs.py {' '.join(map(str, options.runs))} --seeds {options.seeds}"
    text = (
        f"# What tells the gain of a patch\n\nWritten by `{command}`; not edited.\n\n"
        "IoU on test when this share of all patches, those that come first by each ranking, goes to f_1; the mean over "
        "seeds. Deciding is taken as free.\n\n" + "\n\n".join(parts) + "\n"
    )
    write_text(PAGE, text)
    print(text)


def section(run: RunFolder, seeds: int, progress: Progress) -> str:
    """The table of one run."""
    pipeline = trial_pipeline(run, routing_trial(run), device=load_device("cpu"), progress=progress)
    found: dict[str, list[list[float]]] = defaultdict(list)
    for seed in range(seeds):
        data = pipeline.data(seed)
        config = pipeline.config.model_copy(update={"seed": pipeline.config.seed + seed})
        trained = train_pipeline(
            config, data, ArtifactStore(run.artifacts), [0.5, 0.5], device=torch.device("cpu"), progress=progress
        )
        parts = {"policy": data.policy, "val": data.val, "test": data.test}
        for name, ious in rankings(trained, parts, seed).items():
            found[name].append(ious)
    means = {name: torch.tensor(rows).mean(dim=0).tolist() for name, rows in found.items()}
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    rows = [[name, *(f"{iou:.3f}" for iou in ious)] for name, ious in means.items()]
    source = f"trial {pipeline.trial.number}, data `{run.run().data.fingerprint}`" if pipeline.trial else ""
    return f"## {pipeline.study.name}\n\n{seeds} seeds, {sizes} images a seed; {source}.\n\n" + markdown_table(
        ["ranked by", *(f"{share:.0%}" for share in SHARES)], rows
    )


def rankings(trained: Trained, parts: dict[str, Part], seed: int) -> dict[str, list[float]]:
    """Name of a ranking → test IoU at each of SHARES."""
    tables = {name: trained.tables(name) for name in parts}
    policy, f_0, grid = trained.policy, trained.models[0], trained.config.grid
    assert isinstance(policy, PricedPolicy) and len(trained.models) == 2
    classes = tables["test"].hard.shape[-1]
    samples = trained.config.mc_samples
    chances = {
        id(part): image_probability(f_0, part.images, samples=samples, precision="fp32", seed=trained.config.seed)
        for part in parts.values()
    }

    def seen(table: Table, part: Part) -> Tensor:
        return policy.features(table.observation)  # (N, gh, gw, F)

    def beside(layer: str) -> Inputs:
        return lambda table, part: torch.cat([seen(table, part), inside(f_0, layer, part.images, grid)], dim=-1)

    def in_cells(side: int) -> Inputs:
        """As the policy sees it in cells of so many pixels."""
        first, config = trained.config.models[0], PolicyConfig(kind="priced", stride=side)
        other = build_policy(config, models=2, grid=grid, classes=classes, channels=first.in_channels, seed=0)
        assert isinstance(other, PricedPolicy)
        return lambda table, part: other.features(other.observe(part.images, chances[id(part)]))

    def only(columns: slice) -> Inputs:
        return lambda table, part: seen(table, part)[..., columns]

    learn, more = ("policy",), ("policy", "val")
    tried: dict[str, tuple[Inputs, tuple[str, ...]]] = {
        "what the policy sees": (seen, learn),
        "… without its squares": (only(slice(0, policy.mean.numel() // 2)), learn),
        **{f"… in cells of {side} px": (in_cells(side), learn) for side in CELLS_PX},
        "… and f_0's last maps": (beside("up.-1"), learn),
        "… and f_0's deepest maps": (beside("down.-1"), learn),
        "… fitted on D_RL and val": (seen, more),
    }
    test, entropy = tables["test"], seen(tables["test"], parts["test"])[..., classes]
    draw = torch.Generator().manual_seed(seed)
    scores = {"nothing (random)": torch.rand(entropy.shape, generator=draw), "entropy": entropy}
    for side in CELLS_PX:
        scores[f"entropy in cells of {side} px"] = in_cells(side)(test, parts["test"])[..., classes]
    for name, (inputs, pieces) in tried.items():
        features = [inputs(tables[piece], parts[piece]) for piece in pieces]
        hard = [tables[piece].hard for piece in pieces]
        scores[name] = predicted(features, hard, inputs(test, parts["test"]))
    scores["hindsight"] = gains(test.hard, test.hard, "data_iou")[..., 1]
    return {name: ious(test.hard, score.flatten()) for name, score in scores.items()}


class _Given(PricedPolicy):
    """The priced policy on features that are given."""

    def __init__(self, size: int) -> None:
        torch.nn.Module.__init__(self)
        self.weights = torch.nn.Parameter(torch.zeros(2 * size + 1, 2), requires_grad=False)
        for name, value in (("mean", torch.zeros(size)), ("scale", torch.ones(size)), ("spread", torch.ones(()))):
            self.register_buffer(name, value)

    def features(self, observation: Tensor) -> Tensor:
        return observation


def predicted(features: Sequence[Tensor], hard: Sequence[Tensor], test: Tensor) -> Tensor:
    """Gain of f_1 on the patches of ``test`` (N, gh, gw, F), fitted as the priced policy is."""
    policy = _Given(test.shape[-1])
    fit_priced(policy, torch.cat(list(features)), torch.cat(list(hard)))
    return policy.gain(test)[..., 1]


def ious(hard: Tensor, score: Tensor) -> list[float]:
    """Confusion matrices (N, P, 2, K, K), scores (N·P,) → IoU with the first of SHARES sent to f_1."""
    by_patch = hard.flatten(0, 1)[score.argsort(descending=True)]
    kept, sent = by_patch[:, 0], by_patch[:, 1]
    found = []
    for share in SHARES:
        count = round(share * len(by_patch))
        found.append(float(class_iou((sent[:count].sum(dim=0) + kept[count:].sum(dim=0)).double()).nanmean()))
    return found


@torch.inference_mode()
def inside(model: UNet, layer: str, images: Tensor, grid: Grid) -> Tensor:
    """Means in each patch of what comes out of a layer: images (N, C, H, W) → (N, gh, gw, channels)."""
    name, index = layer.split(".")
    found: list[Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, maps: Tensor) -> None:
        found.append(F.adaptive_avg_pool2d(maps, grid).permute(0, 2, 3, 1))

    hook = getattr(model, name)[int(index)].register_forward_hook(keep)
    for image in images:
        model(image[None])
    hook.remove()
    return torch.cat(found)


if __name__ == "__main__":
    main()
