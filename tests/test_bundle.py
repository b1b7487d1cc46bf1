"""A bundle gives the masks of the pipeline it was made from, without torch; what is wrong with one is a line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paser_opt.bundle import OUTSIDE, Manifest, digest, read_bundle
from paser_opt.config import DataConfig, ModelSpace, PipelineConfig, PolicyConfig, Space, Study, UNetConfig
from paser_opt.cost.runtimes.onnx import export_onnx
from paser_opt.errors import ConfigError, DataError, RunError
from paser_opt.export import _mask_values, export_bundle, stored_pipeline
from paser_opt.images import mask_picture
from paser_opt.models import build_policy, build_unet
from paser_opt.predict import Predictor, TimeBudget, capped, most_sent
from paser_opt.progress import Silent
from paser_opt.records import STEPS, Cost, DataSummary, Evaluation, Quantity, RunRecord, TrialRecord
from paser_opt.routing import RoutedPipeline, Screen
from paser_opt.runs import RunFolder
from paser_opt.train import ArtifactStore

H, W = 45, 62  # no grid divides them


def pipeline_config(channels: int = 1, **fields: object) -> PipelineConfig:
    seen = channels + (3 if fields.get("context") == "screen" else 0)
    sizes = (UNetConfig(base=4, depth=1, norm="batch", dropout=0.3, in_channels=channels),
             UNetConfig(base=4, depth=1, norm="instance", in_channels=seen),
             UNetConfig(base=6, depth=2, scale=0.5, norm="batch", in_channels=seen))  # fmt: skip
    return PipelineConfig(models=sizes, **({"grid": (2, 3), "seed": 3} | fields))  # type: ignore[arg-type]


def make_run(
    folder: Path,
    config: PipelineConfig,
    *,
    data: DataConfig = DataConfig(),  # noqa: B008
    patches: Sequence[list[int]] = (),
) -> RunFolder:
    """A run with one complete trial of random weights, in the files a search would leave."""
    run, store = RunFolder(folder), ArtifactStore(folder / "artifacts")
    channels = config.models[0].in_channels
    models = [build_unet(size, seed=7 * i) for i, size in enumerate(config.models)]
    policy = build_policy(config.policy, models=3, grid=config.grid, classes=3, channels=channels, seed=5)
    with torch.no_grad():  # so that it sends patches everywhere
        for parameter in policy.parameters():
            parameter.mul_(3)
    keys = {}
    for name, module in {**{f"f_{i}": model for i, model in enumerate(models)}, "policy": policy}.items():
        keys[name] = store.key(name, test=True)
        store.get_or_make(keys[name], lambda module=module: (module.state_dict(), {}))  # type: ignore[misc]
    missing = Quantity(value=None, how="predicted", reason="none")
    cost = Cost(macs=1, paper_macs=1, latency_s=Quantity(value=0.01, how="predicted"), energy_j=missing,
                memory_bytes=missing)  # fmt: skip
    val = Evaluation(split="val", images=1, iou=0.5, iou_low=0.4, iou_high=0.6, image_iou=0.5, class_iou=[],
                     per_image=[], usage=[1, 0, 0], patches=list(patches), cost=cost)  # fmt: skip
    space = Space(models=tuple(ModelSpace(base=(4,), depth=(1,)) for _ in range(3)))
    RunRecord(
        steps=STEPS, study=Study(name="made", space=space, data=data), created="", finished=True,
        data=DataSummary(kind=data.kind, fingerprint="", images={}, height=H, width=W, channels=channels,
                         class_names=["a", "b", "c"], mean=[0.4] * channels, std=[0.25] * channels),
    ).write(run.run_file)  # fmt: skip
    TrialRecord(number=2, state="complete", params={}, pipeline=config, started="", seconds=0, clock_s=0, val=val,
                weights=keys).write(run.trial_file(2))  # fmt: skip
    return run


def picture(path: Path, *, height: int = H, width: int = W, channels: int = 1, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 5 + 1, width // 5 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    (image if channels == 3 else image.convert("L")).save(path)
    return path


def torch_masks(pipeline: RoutedPipeline, image: np.ndarray) -> torch.Tensor:
    channels = len(image)
    x = (torch.from_numpy(image) - torch.tensor([0.4] * channels)[:, None, None]) / 0.25
    return pipeline.run(x[None]).masks[0]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mc_samples": 3},
        {"halo": 4, "mc_samples": 1},
        {"halo": 4, "mc_samples": 2, "context": "screen", "distill_weight": 0.0},
        {"grid": (4, 4), "policy": PolicyConfig(kind="priced")},
        {"grid": (1, 1), "policy": PolicyConfig(kind="reference")},
        {"grid": (4, 4), "policy": PolicyConfig(kind="reference", every=3)},
        {"channels": 3, "grid": (4, 4), "policy": PolicyConfig(kind="reference"), "mc_samples": 2},
    ],
    ids=str,
)
def test_masks_are_the_pipelines_own(fields: dict[str, object], tmp_path: Path) -> None:
    config = pipeline_config(**fields)  # type: ignore[arg-type]
    run = make_run(tmp_path / "run", config)
    export_bundle(run, 2, tmp_path / "bundle", progress=Silent())
    pipeline, predictor = stored_pipeline(run, run.trials()[0]), Predictor(tmp_path / "bundle")
    same = used = total = 0
    for seed in range(6):
        image = predictor.read(picture(tmp_path / "image.png", channels=predictor.manifest.channels, seed=seed))
        prediction, expected = predictor(image), torch_masks(pipeline, image)
        same += int((prediction.mask == expected.numpy()).sum())
        total += prediction.mask.size
        used += len(set(prediction.route.tolist()))
        assert {"screen", "policy"} <= set(prediction.seconds)
    assert same / total >= 0.999
    assert used > 6 or config.grid == (1, 1)  # several models were at work


def test_an_image_may_be_standardised_by_its_own_mean_and_std(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pipeline_config(), data=DataConfig(standardise="image"))
    export_bundle(run, 2, tmp_path / "bundle", progress=Silent())
    predictor = Predictor(tmp_path / "bundle")
    image = predictor.read(picture(tmp_path / "image.png"))
    own = (torch.from_numpy(image) - image.mean()) / image.std()
    expected = stored_pipeline(run, run.trials()[0]).run(own[None]).masks[0]
    assert (predictor(image).mask == expected.numpy()).mean() >= 0.999
    assert np.array_equal(predictor(0.5 * image + 0.3).mask, predictor(image).mask)
    assert np.isfinite(predictor._standardised(np.full_like(image, 0.5))).all()


def test_monte_carlo_masks_do_not_grow_with_the_image() -> None:
    screen = Screen(build_unet(UNetConfig(base=4, depth=1, dropout=0.5), seed=0).eval(), samples=4, seed=0)
    small, large = (len(export_onnx(screen, [(torch.zeros(1, 1, side, side),)])) for side in (64, 256))
    # the masks of 4 passes of the first layer alone would be 4 samples × 4 channels × 128² × 4 bytes = 1 MiB
    assert large - small < 2**17


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export_bundle(make_run(folder / "run", pipeline_config()), 2, folder / "bundle", progress=Silent())
    return folder / "bundle"


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copied"))


def test_the_manifest_says_what_the_trial_was(bundle: Path) -> None:
    manifest, models = read_bundle(bundle)
    assert (manifest.study, manifest.trial, manifest.height, manifest.width) == ("made", 2, H, W)
    assert [(one.split, one.iou) for one in manifest.scores] == [("val", 0.5)]
    assert manifest.latency_s.how == "predicted"
    assert list(models) == ["screen", "policy", "f_1", "f_2"]
    assert not any(path.name.startswith(".") for path in bundle.parent.iterdir())  # nothing is left beside it


def test_it_runs_without_torch(bundle: Path, tmp_path: Path) -> None:
    picture(tmp_path / "one.png")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"sys.argv = ['paser-opt', 'predict', {str(bundle)!r}, {str(tmp_path / 'one.png')!r}, "
        f"'--out', {str(tmp_path / 'masks')!r}, '--json']\n"
        "from paser_opt.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["images"]
    assert sum(row["patches"]) == 6
    assert row["total_s"] == pytest.approx(sum(row["seconds"].values()))
    steps = json.loads(done.stdout)["steps"]
    assert steps["screen"] == {"images": 1, "median_s": row["seconds"]["screen"], "total_s": row["seconds"]["screen"]}
    assert steps["all"]["total_s"] == row["total_s"]
    mask = np.asarray(Image.open(tmp_path / "masks" / "one.png"))
    assert mask.shape == (H, W) and set(np.unique(mask)) <= {0, 1, 2}


def test_a_budget_keeps_the_surest_patches() -> None:
    # 1 ms for all; f_1: 2 ms a patch; f_2: 5 ms for one, 8 ms for two and more
    budget = TimeBudget(0.001, [0, 1, 2, 4], [[0, 0.002, 0.004, 0.008], [0, 0.005, 0.008, 0.008]])
    wanted = np.array([2, 1, 0, 2])
    confidence = np.array([0.9, 0.5, 0.99, 0.6], dtype=np.float32)
    for budget_s, route in (
        (0.0111, [2, 1, 0, 2]),  # 1 + 2 + 8
        (0.0109, [2, 0, 0, 2]),  # the least sure one goes first: 1 + 8
        (0.0089, [2, 0, 0, 0]),  # 1 + 5
        (0.0059, [0, 0, 0, 0]),
    ):
        assert budget.keep(wanted, confidence, budget_s).tolist() == route
    assert wanted.tolist() == [2, 1, 0, 2]


def test_a_budget_of_an_image(bundle: Path, tmp_path: Path) -> None:
    predictor = Predictor(bundle)
    image = predictor.read(picture(tmp_path / "image.png", seed=3))
    free = predictor(image)
    assert np.array_equal(predictor(image, budget_s=10).route, free.route)
    with pytest.raises(ConfigError, match=r"a budget of 0.001 ms is under the .* ms that screen and policy take"):
        predictor(image, budget_s=1e-6)


def test_other_sizes(copied: Path, tmp_path: Path) -> None:
    large = picture(tmp_path / "large.png", height=H + 10, width=W - 4)
    with pytest.raises(DataError, match=r"large.png is 55 x 58 \(height x width\); this bundle takes 45 x 62"):
        Predictor(copied).read(large)
    text = (copied / "manifest.json").read_text(encoding="utf-8")
    (copied / "manifest.json").write_text(text.replace('"fitted": false', '"fitted": true'), encoding="utf-8")
    predictor = Predictor(copied)
    image = predictor.read(large)
    mask = predictor(image).mask
    assert mask.shape == (H + 10, W - 4)
    assert (mask[:5] == OUTSIDE).all() and (mask[-5:] == OUTSIDE).all() and mask[5:-5].max() < 3
    cropped = np.pad(image[:, 5:-5], [(0, 0), (0, 0), (2, 2)], mode="edge")  # as in training
    assert np.array_equal(mask[5:-5], predictor(cropped).mask[:, 2:-2])


def test_mask_values_are_the_studys_own(tmp_path: Path) -> None:
    data = DataConfig(
        kind="folder", path="x", classes=("a", "b", "c"), mask_values={"0": 0, "100": 1, "200": 2, "7": 0}
    )
    run = make_run(tmp_path / "run", pipeline_config(), data=data)
    assert export_bundle(run, 2, tmp_path / "bundle", progress=Silent()).mask_values == [0, 100, 200]


@pytest.mark.parametrize(
    ("size", "values"), [(None, [0, 255]), ((H, W), None)], ids=["all sizes alike", "cropped pixels are 255"]
)
def test_white_is_a_class_where_nothing_is_cropped(size: object, values: object) -> None:
    data = DataConfig(kind="folder", path="x", classes=("a", "b"), mask_values={"0": 0, "255": 1}, size=size)  # type: ignore[arg-type]
    study = Study(
        name="made", space=Space(models=tuple(ModelSpace(base=(4,), depth=(1,)) for _ in range(3))), data=data
    )
    assert _mask_values(study, fitted=size is not None) == values
    picture = np.asarray(mask_picture(np.array([[0, 1]], dtype=np.uint8), values))  # type: ignore[arg-type]
    assert picture.tolist() == [values or [0, 1]]


def change(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **fields}), encoding="utf-8")


def swap(folder: Path, step: str, content: bytes) -> None:
    """Another file for a step, listed in the manifest as if it belonged there."""
    digests = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["digests"]
    (folder / f"{step}.onnx").write_bytes(content)
    change(folder / "manifest.json", digests={**digests, step: digest(content)})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda d: (d / "f_1.onnx").write_bytes(b"x"), "f_1.onnx is damaged"),
        (lambda d: (d / "policy.onnx").unlink(), "cannot read .*policy.onnx"),
        (lambda d: (d / "manifest.json").unlink(), "holds no bundle"),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json is damaged or of another version"),
        (lambda d: change(d / "manifest.json", format=9), "another version: format"),
        (lambda d: change(d / "manifest.json", std=[0.0]), "std"),
        (lambda d: change(d / "manifest.json", mean=[0.0, 1.0]), "must have the 1 channels"),
        (lambda d: change(d / "manifest.json", class_names=["a", "b"]), "2 class names for models of 3"),
        (lambda d: change(d / "manifest.json", digests={"../../x": "0"}), "digests must be of screen, policy"),
        (lambda d: change(d / "manifest.json", mask_values=[1, 1, 2]), "one different value a class"),
        (lambda d: change(d / "manifest.json", mask_values=[0, 1, 255], fitted=True), "must leave 255 to"),
        (lambda d: change(d / "manifest.json", mask_values=[0, 1, 2, 2]), "one different value a class"),
        (lambda d: change(d / "manifest.json", mean=[float("nan")]), "mean.0: Input should be less"),
        (lambda d: change(d / "manifest.json", std=[1e300]), "std.0: Input should be less"),
        (lambda d: change(d / "manifest.json", height=H + 1), r"screen has \[1, 1, 45, 62\], the manifest says"),
        (lambda d: swap(d, "f_1", b"no model"), "ONNX Runtime cannot open .*f_1.onnx"),
    ],
)
def test_a_faulty_bundle_is_one_line(fault: object, words: str, copied: Path) -> None:
    fault(copied)  # type: ignore[operator]
    with pytest.raises(RunError, match=words) as caught:
        Predictor(copied)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", pipeline_config())
    with pytest.raises(RunError, match="has no complete trial 5; complete: 2"):
        export_bundle(run, 5, tmp_path / "out", progress=Silent())
    (tmp_path / "there").mkdir()
    with pytest.raises(RunError, match="there is there already"):
        export_bundle(run, 2, tmp_path / "there", progress=Silent())
    for path in (tmp_path / "run" / "artifacts").glob("f_1*"):
        path.unlink()
    with pytest.raises(RunError, match="the weights of f_1 are not in"):
        export_bundle(run, 2, tmp_path / "out", progress=Silent())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run", "there"]


class Another(torch.nn.Module):
    """Takes what an f_i takes, and gives something else."""

    def forward(self, image, probability, labels, index):  # type: ignore[no-untyped-def]
        return image.sum() + probability.sum() + labels.sum() + index.sum()


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (torch.nn.Conv2d(1, 3, 3), [(torch.zeros(1, 1, 9, 9),)]),
        (Another(), [(torch.zeros(1, 1, H, W), torch.zeros(1, 3, H, W), torch.zeros(1, H, W), torch.zeros(2).long())]),
    ],
    ids=["another size", "gives no labels"],
)
def test_a_model_of_another_pipeline_is_one_line(copied: Path, module: torch.nn.Module, inputs: list) -> None:  # type: ignore[type-arg]
    swap(copied, "f_2", export_onnx(module, inputs))
    with pytest.raises(
        RunError, match=r"manifest.json is not of these models: f_2 has .*; export the bundle"
    ) as caught:
        Predictor(copied)
    assert "\n" not in str(caught.value)


def test_a_cap_keeps_the_surest_by_hand() -> None:
    wanted = np.array([1, 2, 0, 1, 1, 2])
    confidence = np.array([0.6, 0.5, 0.99, 0.7, 0.7, 0.9], dtype=np.float32)
    for most, route in (
        ((9, 2, 1), [0, 0, 0, 1, 1, 2]),
        ((9, 1, 2), [0, 2, 0, 1, 0, 2]),  # of two equally sure the first
        ((9, 0, 9), [0, 2, 0, 0, 0, 2]),
        ((9, 3, 2), wanted.tolist()),
        ((3, 3, 2), [0, 0, 0, 1, 1, 2]),
        ((2, 2, 1), [0, 0, 0, 1, 0, 2]),
    ):
        assert capped(wanted, confidence, most).tolist() == route
    assert wanted.tolist() == [1, 2, 0, 1, 1, 2]


def test_the_most_that_images_sent_on_in_all_and_to_each_model() -> None:
    assert most_sent([[1, 0, 8], [2, 7, 0], [4, 2, 3]]) == [8, 7, 8]
    assert most_sent([[9, 0]]) == [0, 0]
    assert most_sent([]) == []


def test_a_bundle_knows_what_val_sent_on_and_holds_images_to_it(tmp_path: Path, paser_opt) -> None:  # type: ignore[no-untyped-def]
    run = make_run(tmp_path / "run", pipeline_config(), patches=[[5, 1, 0], [4, 0, 2], [6, 0, 0]])
    assert export_bundle(run, 2, tmp_path / "bundle", progress=Silent()).most_patches == [2, 1, 2]
    for seed in range(4):
        picture(tmp_path / "photos" / f"{seed}.png", seed=seed)
    command = ["predict", tmp_path / "bundle", tmp_path / "photos", "--out", tmp_path / "masks"]
    free, held = (json.loads(paser_opt(*command, "--json", *more).stdout)["images"] for more in ([], ["--cap"]))
    assert any(one["beyond_val"] for one in free)
    for before, after in zip(free, held, strict=True):
        assert before["patches"] == before["wanted"] == after["wanted"] and before["held_back"] == 0
        _, one, two = before["patches"]
        assert before["beyond_val"] == after["beyond_val"] == (one > 1 or two > 2 or one + two > 2)
        assert sum(after["patches"][1:]) == min(2, min(one, 1) + min(two, 2)) and after["patches"][1] <= 1
        assert after["held_back"] == sum(before["patches"][1:]) - sum(after["patches"][1:])
    both = json.loads(paser_opt(*command, "--json", "--cap", "--budget-ms", "1000").stdout)["images"]
    assert [one["patches"] for one in both] == [one["patches"] for one in held]
    many = sum(one["beyond_val"] for one in free)
    assert f"{many} of 4 images want more patches sent on than any image of val" in paser_opt(*command).stderr
    older = make_run(tmp_path / "older", pipeline_config())
    assert export_bundle(older, 2, tmp_path / "old", progress=Silent()).most_patches == []
    failed = paser_opt("predict", tmp_path / "old", tmp_path / "photos", "--out", tmp_path / "other", "--cap")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1), failed.stderr
    assert "no cap to hold" in failed.stderr and not (tmp_path / "other").exists()


def test_the_commands(tmp_path: Path, paser_opt) -> None:  # type: ignore[no-untyped-def]
    run = make_run(tmp_path / "run", pipeline_config(mc_samples=1))
    done = paser_opt("export", run.path, "--trial", 2, "--out", tmp_path / "bundle", "--json")
    assert done.returncode == 0, done.stderr
    assert Manifest.model_validate_json(done.stdout).trial == 2
    validated = paser_opt("validate", tmp_path / "bundle", "--json", "-q")
    assert validated.returncode == 0, validated.stderr
    answer = json.loads(validated.stdout)
    assert answer["machine"]["runtime"] == "onnx"
    assert answer["pairs"][0]["route"] == "all kept"
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        picture(tmp_path / "photos" / f"{seed}.png", seed=seed)
    done = paser_opt("predict", tmp_path / "bundle", tmp_path / "photos", "--out", tmp_path / "masks",
                     "--budget-ms", 1000)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 of 2 images" in done.stderr and "screen" in done.stderr
    assert sorted(one.name for one in (tmp_path / "masks").iterdir()) == ["0.png", "1.png"]
    for arguments, words in (
        ([tmp_path / "bundle", tmp_path / "nowhere"], "there is no"),
        ([tmp_path / "bundle", tmp_path / "bundle"], "holds no file that ends in"),
        ([tmp_path / "run", tmp_path / "photos"], "holds no bundle"),
        ([tmp_path / "bundle", tmp_path / "photos", tmp_path / "photos" / "0.png"], "would get one mask"),
    ):
        failed = paser_opt("predict", *arguments, "--out", tmp_path / "other", "-q")
        assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1), failed.stderr
        assert words in failed.stderr
    assert not (tmp_path / "other").exists()


def test_images_are_never_written_over(bundle: Path, tmp_path: Path, paser_opt) -> None:  # type: ignore[no-untyped-def]
    before = picture(tmp_path / "one.png").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link"):
        failed = paser_opt("predict", bundle, tmp_path / "one.png", "--out", out, "-q")
        assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1), failed.stderr
        assert "would be overwritten by a mask" in failed.stderr
    assert (tmp_path / "one.png").read_bytes() == before
    (tmp_path / "others").mkdir()
    other = picture(tmp_path / "others" / "one.png", seed=1).read_bytes()
    for out in ("others", "folders"):
        (tmp_path / "folders" / "one.png").mkdir(parents=True, exist_ok=True)
        failed = paser_opt("predict", bundle, tmp_path / "one.png", "--out", tmp_path / out, "-q")
        assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1), failed.stderr
        assert "one.png is there already and no mask of paser-opt's" in failed.stderr
    assert (tmp_path / "others" / "one.png").read_bytes() == other
    for _ in range(2):  # but its own masks it may write again
        done = paser_opt("predict", bundle, tmp_path / "one.png", "--out", tmp_path / "masks", "-q")
        assert done.returncode == 0, done.stderr
