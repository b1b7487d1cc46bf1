"""What the terminal shows of several trials at once."""

import io

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
