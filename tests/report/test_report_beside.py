"""Fronts of two devices side by side, on runs whose fronts are known by hand."""

import json

import pytest
from report_runs import small_trials, study, trial, write_run

from paser_opt.errors import RunError
from paser_opt.report import write_devices
from paser_opt.report.beside import cheapest, devices_figure, devices_headline
from paser_opt.report.info import collect


@pytest.fixture
def runs(tmp_path):
    """On the board, the front is 7 (0.59, 5 ms), 6 (0.64, 20 ms) and 4 (0.65, 400 ms); knee: 6."""
    run = write_run(tmp_path / "run", small_trials())
    board = [
        trial(0, 0.48, 0.5, tag="paper"), trial(1, 0.50, 0.1), trial(3, 0.58, 0.16), trial(4, 0.65, 0.4),
        trial(6, 0.64, 0.02), trial(7, 0.59, 0.005),
    ]  # fmt: skip
    return run, write_run(tmp_path / "run-board", board, study=study(device="board"), source="run")


def test_where_the_best_pipeline_differs(runs):
    infos = [collect(run) for run in runs]
    assert [info.front for info in infos] == [(1, 3, 4), (7, 6, 4)]
    assert [cheapest(info, 0.6) for info in infos] == [3, 6]
    assert [cheapest(info, 0.59) for info in infos] == [3, 7]
    assert cheapest(infos[0], 0.7) is None
    assert devices_headline(infos).replace("\u00a0", " ") == (
        "The knees differ: trial 3 on cpu, trial 6 on board. "
        "IoU 0.600 costs least with trial 3 on cpu (16 ms), trial 6 on board (20 ms)"
    )
    assert devices_headline(infos[:1]).startswith("Trial 3 is the knee of every front")


def test_the_figure_has_a_line_a_device(runs):
    figure = devices_figure([collect(run) for run in runs])
    assert [(line.name, list(line.x), list(line.y)) for line in figure.data] == [
        ("cpu", [10, 16, 40], [0.50, 0.60, 0.65]),
        ("board", [5, 20, 400], [0.59, 0.64, 0.65]),
    ]


def test_the_page_and_the_json(runs):
    run, _ = runs
    page = write_devices(run, ["board", "cpu", "board"]).read_text(encoding="utf-8")
    assert "<title>small – fronts by device</title>" in page
    assert "<td>knee</td>" in page and "ms, predicted" in page
    content = json.loads((run.path / "devices.json").read_text(encoding="utf-8"))
    assert [(one["device"], one["knee"]) for one in content["fronts"]] == [("cpu", 3), ("board", 6)]
    assert content["fronts"][1]["front"][0]["figures"]["latency"] == 0.005


def test_a_front_that_is_not_there_or_not_this_runs(runs):
    run, _ = runs
    with pytest.raises(RunError, match=r"no front for jetson: `paser-opt retarget .*run --device jetson`"):
        write_devices(run, ["jetson"])
    trial(8, 0.7, 0.05).write(run.trial_file(8))  # searched on since
    with pytest.raises(RunError, match=r"run-board is not .*run as it is now"):
        write_devices(run, ["board"])


def test_a_device_whose_budget_nothing_keeps(runs):
    run, board = runs
    for one in board.trials():
        pruned = {"state": "pruned", "reason": "over the budget", "val": None, "values": {}}
        one.model_copy(update=pruned).write(board.trial_file(one.number))
    assert devices_headline([collect(run), collect(board)]) == "No trial is complete on board"
    assert "over the budget" in write_devices(run, ["board"]).read_text(encoding="utf-8")
