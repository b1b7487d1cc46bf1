"""What the terminal shows of several trials at once, and what a log holds."""

import io

import pytest
from rich.console import Console

from paser_opt.cli import live
from paser_opt.config import PipelineConfig, UNetConfig
from paser_opt.records import TrialRecord

CONFIG = PipelineConfig(models=(UNetConfig(base=2, depth=1), UNetConfig(base=4, depth=1)))


def shown(screen) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(screen.draw())
    return console.export_text()


def pruned(number: int) -> TrialRecord:
    return TrialRecord(
        number=number, state="pruned", reason="too dear", params={}, pipeline=CONFIG, started="", seconds=1, clock_s=1
    )


def test_every_running_trial_has_its_own_bar(monkeypatch):
    monkeypatch.setattr(live, "console", Console(quiet=True))
    screen = live._Screen("tiny", None)
    for number in (0, 1):
        screen.started(number, 5, "")
    first, second = screen.running(0), screen.running(1)
    first.stage("distill f_0", 40)
    second.stage("pretrain f_1", 30)
    second.advance(7, "IoU 0.5")
    text = shown(screen)
    assert "0: distill f_0" in text
    assert "1: pretrain f_1" in text
    assert "7/30" in text
    assert "0/5" in text
    screen.finished(pruned(1), [], None)
    text = shown(screen)
    assert "0: distill f_0" in text
    assert "1: " not in text
    assert "1/5" in text


def test_a_log_tells_each_stage_once(monkeypatch):
    log, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(live, "console", Console(file=log, width=40))
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    with live.watching("tiny on cpu", quiet=False, stages=True) as watcher:
        watcher.stage("latency", 3)
        watcher.started(0, 5, "")
        watcher.stage("latency", 2)
        trial = watcher.running(0)
        for name in ("pretrain f_1", "distill f_0", "table f_0 val", "fold 1 of 2", "distill f_0", "[bold]"):
            trial.stage(name, 1)
            trial.advance(1, "loss 0.1")
        clock[0] = 61.0  # a fold's f_1 took so long
        trial.stage("distill f_0", 1)
        trial.stage("table f_0 val", 1)
        watcher.running(0).stage("distill f_0", 8)  # to the next rung
        watcher.finished(pruned(0), [], None)
    trials = ["pretrain f_1", "distill f_0", "[bold]", "distill f_0", "distill f_0"]
    assert log.getvalue().splitlines() == [
        "tiny on cpu",
        "latency",
        "latency",
        *(f"trial 0: {name}" for name in trials),
        "trial 0 (1 of 5): pruned: too dear, 1.0 s",
    ]


def test_a_log_tells_once_a_minute_how_far_a_long_stage_has_come(monkeypatch):
    log, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(live, "console", Console(file=log, width=60))
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    with live.watching("UNets of tiny", quiet=False, stages=True) as watcher:
        watcher.stage("UNets", 9)
        for done in range(1, 10):
            clock[0] += 25
            watcher.advance(done, f"[{done}] of seed 0")
    assert log.getvalue().splitlines() == [
        "UNets of tiny", "UNets", "UNets: 3 of 9, [3] of seed 0", "UNets: 6 of 9, [6] of seed 0",
        "UNets: 9 of 9, [9] of seed 0",
    ]  # fmt: skip


@pytest.mark.parametrize(("options", "lines"), [({"quiet": False}, ["tiny"]), ({"quiet": True, "stages": True}, [])])
def test_no_stages_where_they_are_not_asked_for(options, lines, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(live, "console", Console(file=log))
    with live.watching("tiny", **options) as watcher:
        watcher.stage("latency", 3)
        watcher.started(0, 5, "")
        watcher.running(0).stage("distill f_0", 8)
    assert log.getvalue().splitlines() == lines
