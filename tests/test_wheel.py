"""The built wheel works outside the checkout, devices and studies in it."""

import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_what_it_reads(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("devices", "studies"):
        assert {f"paser_opt/{folder}/{path.name}" for path in (ROOT / folder).glob("*.toml")} <= inside
    for page in (ROOT / "paser_opt" / "report").iterdir():
        if page.is_file():
            assert f"paser_opt/report/{page.name}" in inside
    assert not any(name.startswith(("tests/", "docs/")) for name in inside)


def required(names: list[str], extras: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """The distributions that installing ``names`` brings, by name; those of other systems and extras left out."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(name), extras) for name in names]
    while waiting:
        one, wanted = waiting.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in {"", *wanted}):
            continue
        try:
            here = distribution(one.name)
        except PackageNotFoundError:
            continue  # torch's CUDA libraries, beside a build without them
        if found.setdefault(here.name, here) is here:
            waiting += [(Requirement(each), frozenset(one.extras)) for each in here.requires or []]
    return found


def test_it_installs_and_runs_elsewhere(wheel, tmp_path, tiny_toml, tiny_profile):
    """In a virtual environment of its own that borrows from this one only what the wheel itself requires."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    zipfile.ZipFile(wheel).extractall(site)
    # A plain folder on the path, not a .pth of it: the editable install of the checkout stays behind.
    lent = tmp_path / "lent"
    lent.mkdir()
    metadata = next(site.glob("paser_opt-*.dist-info")) / "METADATA"
    asked = [line.partition(": ")[2] for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    for one in required(asked).values():
        tops = {path.parts[0] for path in one.files or [] if path.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (lent / top).exists():
                (lent / top).symlink_to(one.locate_file(top))
    borrowed = {"PYTHONPATH": str(lent), "PATH": "/usr/bin:/bin"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "paser_opt", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=borrowed, timeout=200)

    where = subprocess.check_output(
        [python, "-c", "import paser_opt; print(paser_opt.__file__)"], text=True, cwd=tmp_path, env=borrowed
    )
    assert Path(where.strip()).is_relative_to(home)
    assert "jetson" in run("devices").stdout
    (tmp_path / "run" / "profiles").mkdir(parents=True)
    (tmp_path / "run" / "profiles" / "cpu.json").write_text(tiny_profile, encoding="utf-8")
    done = run("search", str(tiny_toml), "--trials", "1", "--out", "run", "-q")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    done = run("export", "run", "--trial", "0", "--out", "bundle", "-q")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle" / "manifest.json").is_file()
    assert "quickstart" in run("search", "nothing").stderr
