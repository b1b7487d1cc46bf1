"""Every `paser-opt` command that the docs show is run, in the order a user meets them, on a study small enough."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paser_opt import catalog
from paser_opt.cli import main

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
ORDER = (
    "devices", "profile", "search", "report", "pick", "retarget", "export", "predict", "validate", "compare", "static",
    "experiment", "record", "train", "cache",
)  # fmt: skip
NO_BOARD = "--estimate"
"""What stands in for the board of the docs, which nobody has here."""


def shown() -> list[list[str]]:
    """The arguments of each command in a console block, each once, what makes a run before what reads it."""
    found = {}
    for page in PAGES:
        for line in re.findall(r"^\$ paser-opt (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            arguments = shlex.split(line, comments=True)
            if "--host" in arguments:
                at = arguments.index("--host")
                arguments[at : at + 2] = [NO_BOARD]
            if arguments[0] == "search" and {NO_BOARD, "--store"} & set(arguments):
                arguments += ["--trials", "2", "--out", f"runs/{len(found)}"]  # a run of its own
            for option, most in (("--trials", 4), ("--seeds", 1)):
                if option in arguments:
                    at = arguments.index(option) + 1
                    arguments[at] = str(min(most, int(arguments[at])))
            if arguments[0] == "validate":
                arguments += ["--families", "1"]
            if arguments[0] == "record":  # goes on from the run that the other commands made
                arguments += ["--trials", "3", "--seeds", "1", "--run", "runs/quickstart"]
            if arguments[0] == "train":
                arguments += ["--seeds", "1", "--run", "runs/quickstart"]
            if arguments[0] in ("compare", "record", "static", "train"):
                arguments += ["--models", "2"]
            if arguments[0] == "compare":
                arguments += ["--points", "2"]
            found[tuple(arguments)] = None

    def place(arguments: list[str]) -> tuple[int, bool]:
        late = "quickstart-jetson" in " ".join(arguments) or ("report" in arguments and "--device" in arguments)
        return ORDER.index("retarget" if late else arguments[0]), late

    return sorted((list(one) for one in found if one[0] in ORDER), key=place)


def draw_rocks(folder: Path) -> None:
    """Images and masks as the README has its reader put them."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(14):
        mask = rng.integers(0, 3, (4, 4), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        image = (mask * 80 + rng.integers(0, 40, mask.shape)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"rock-{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"rock-{number}.png")


@pytest.fixture
def desk(tmp_path, tiny_toml, monkeypatch):
    """A folder that holds what the docs speak of: quickstart (made tiny), rocks, photos."""
    studies = tmp_path / "studies"
    studies.mkdir()
    tiny = tiny_toml.read_text(encoding="utf-8")
    (studies / "quickstart.toml").write_text(tiny.replace('"tiny"', '"quickstart"'), encoding="utf-8")
    real = catalog._folder
    monkeypatch.setattr(catalog, "_folder", lambda kind: studies if kind == "studies" else real(kind))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rocks = next(text for text in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if 'name = "rocks"' in text)
    short = "[training]\npretrain_epochs = 1\ndistill_epochs = 1\npolicy_epochs = 2\nfinetune_epochs = 0\n"
    sizes = "models = [{ base = 2, depth = 1 }, { base = 4, depth = 1 }]"
    rocks = re.sub(r"^models = .*$", sizes, rocks, flags=re.MULTILINE)
    (tmp_path / "rocks.toml").write_text(rocks.replace("[training]\n", short), encoding="utf-8")
    draw_rocks(tmp_path / "rocks")
    shutil.copytree(tmp_path / "rocks" / "images", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(600)
def test_every_command_of_the_docs_runs(desk, monkeypatch, capfd):
    for arguments in shown():
        # Trials of the tiny study stand for quickstart's own; its front keeps other limits.
        arguments = [
            "3" if before == "--trial" else one for before, one in zip(["", *arguments], arguments, strict=False)
        ]
        # What a shell makes of a pattern.
        arguments = [
            file for one in arguments for file in (sorted(map(str, Path().glob(one))) if "*" in one else [one])
        ]
        monkeypatch.setattr("sys.argv", ["paser-opt", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr().err
        nothing_fits = arguments[0] == "pick" and ended.value.code == 2 and "no finished trial" in said
        assert ended.value.code in (0, None) or nothing_fits, f"{shlex.join(arguments)}: {said}"
