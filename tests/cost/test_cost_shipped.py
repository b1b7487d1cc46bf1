"""What is sent to boards runs there: old Pythons, nothing but the standard library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from paser_opt.cost import remote
from paser_opt.cost.remote import SHIPPED

PACKAGE = Path(remote.__file__).parents[1]
FILES = [PACKAGE.joinpath(*name.split(".")).with_suffix(".py") for name in SHIPPED]


def test_what_runs_on_boards_is_python_3_6() -> None:
    command = [
        sys.executable,
        "-c",
        "import vermin; vermin.main()",
        "-t=3.6-",
        "--no-tips",
        "--eval-annotations",
        "--violations",
        *map(str, FILES),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_runs_on_boards_imports_the_standard_library_and_itself(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ("paser_opt", *path.relative_to(PACKAGE).parts[:-1])
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef)
              for node in ast.walk(function)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots = {alias.name.partition(".")[0] for alias in node.names}
            allowed = {"onnxruntime", "numpy", "torch", "pynvml"} if id(node) in inside else set()
            assert roots <= sys.stdlib_module_names | allowed
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").partition(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names} if not node.module else {base}
            before = SHIPPED[: SHIPPED.index(".".join([*package[1:], path.stem]))]
            assert names <= {f"paser_opt.{name}" for name in before}  # each comes after what it imports
