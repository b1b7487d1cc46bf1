"""Run folders for the report's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from report_runs import small_trials, write_gallery, write_run

from paser_opt.runs import RunFolder


@pytest.fixture()
def small_run(tmp_path: Path) -> RunFolder:
    return write_run(
        tmp_path / "run",
        small_trials(),
        gallery=write_gallery(tmp_path / "run" / "gallery"),
        notes=["the paper's S = 5 lies outside the space"],
    )


@pytest.fixture()
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    return lambda trials, **changes: write_run(tmp_path / "made", trials, **changes)
