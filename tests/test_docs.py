"""The docs say what the code does: commands, options, keys, defaults, examples, files, links."""

import re
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from paser_opt.catalog import tomllib
from paser_opt.cli import app
from paser_opt.config import Budget, DataConfig, Device, ModelSpace, Range, Space, Study, TrainConfig

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TABLES = {
    "Study": Study,
    "Data": DataConfig,
    "Training": TrainConfig,
    "Space": Space,
    "Models": ModelSpace,
    "Ranges": Range,
    "Budget": Budget,
}
SHORTEST = {"name": "x", "space": {"models": [{"base": 4, "depth": 2}, {"base": 8, "depth": 2}]}}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """From a heading to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """A table's cells by the name in code font in its first column."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]
    return {row[0].strip("` |"): [cell.strip(" |") for cell in row[1:]] for row in cells}


# --- commands -----------------------------------------------------------------------------------------


def test_every_command_has_a_section_and_nothing_else_has():
    titles = re.findall(r"^## (.+)$", page("commands.md"), re.MULTILINE)
    assert titles == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_its_commands_section(name):
    text = section(page("commands.md"), name)
    options = {
        name
        for param in COMMANDS[name].params
        if param.param_type_name == "option"
        for name in (*param.opts, *param.secondary_opts)
        if name != "--help"
    }
    documented = set(
        re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", " ".join(re.findall(r"^\| `-.*?\|", text, re.MULTILINE)))
    )
    assert documented == options
    assert f"paser-opt {name}" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_are_shown_one_way(path):
    text = path.read_text(encoding="utf-8")
    assert "$ .venv/bin/paser-opt" not in text
    if path.name in ("README.md", "quickstart.md"):  # where a reader meets the command first
        assert 0 < text.index("source .venv/bin/activate") < text.index("\n$ paser-opt")


# --- studies ------------------------------------------------------------------------------------------


def in_toml(value: object) -> str:
    """A default as docs/studies.md writes it."""
    if value is None:
        return "–"
    if isinstance(value, Range):
        return f"`{{ low = {value.low:g}, high = {value.high:g} }}`"
    return f"`{_plain(value)}`"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").ljust(len(f"{int(value)}.0"), "0")
    if isinstance(value, tuple):
        return f"[{', '.join(_plain(one) for one in value)}]"
    return str(value)


@pytest.mark.parametrize("title", TABLES)
def test_every_key_of_a_study_and_its_default(title):
    table = rows(section(page("studies.md"), title))
    model = TABLES[title]
    assert list(table) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel) and not isinstance(field.default, Range):
            continue  # a table of its own
        default = (("4x4",) if name == "grid" else field.default) if field.default is not PydanticUndefined else None
        wanted = "required" if field.is_required() else in_toml(default)
        assert table[name][-1] == wanted, f"{title}.{name}"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(path, text, id=f"{path.name}-{number}")
        for path in PAGES
        for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S))
    ],
)
def test_every_toml_example_is_one(path, text):
    content = tomllib.loads(text)
    if content.keys() & (Device.model_fields.keys() - Study.model_fields.keys()):
        Device.model_validate(content)
    elif text.startswith("name ="):
        Study.model_validate(content)
    else:  # a part of a study
        space = {**SHORTEST["space"], **content.get("space", {})}
        Study.model_validate({**SHORTEST, **content, "space": space})


# --- files and links ----------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Headings as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere_and_paths_are_nobodys_own(path):
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), f"{path.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{path.name}: {link}"
    assert not re.search(r"(?<![\w.])/(work|tmp|home)\b", text)


def test_the_tree_in_architecture_is_the_packages():
    """A file that comes or goes takes its line in docs/architecture.md along."""
    tree = re.search(r"^```\n(paser_opt/\n.*?)^```", page("architecture.md"), re.MULTILINE | re.DOTALL)
    assert tree
    folders: list[str] = []
    listed = set()
    for line in tree[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name.rstrip("/")]
        if not name.endswith("/"):
            listed.add("/".join(folders))
    package = ROOT / "paser_opt"
    there = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.suffix in (".py", ".html", ".js", ".css")
    }
    assert listed == there
