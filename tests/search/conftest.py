import os
import random
import re
import signal
import time

import pytest

KILL_WINDOW_S = 4.0  # the data again, and a few trials of the tiny studies


@pytest.fixture(scope="session")
def kills() -> int:
    """How many; PASER_OPT_KILLS=100 makes the kill tests long."""
    return int(os.environ.get("PASER_OPT_KILLS", "2"))


@pytest.fixture(scope="session")
def kill_at_random(kills):
    """kill_at_random(search_it, trials, draw, check=…) → trials asked for in the end.

    Nine of ten kills come while trials run, the others while the process starts; a search that came to its end before
    its kill goes on with more trials. ``search_it(trials)`` starts the command, not quiet: its first line says that
    trials begin. ``check`` is called after each stop.
    """

    def kill(search_it, trials: int, draw: random.Random, check=lambda: None) -> int:
        done = 0
        while done < kills:
            process = search_it(trials)
            if draw.random() < 0.9:
                process.first_line()
            time.sleep(draw.uniform(0, KILL_WINDOW_S))
            process.kill()
            said = process.communicate()
            assert process.returncode in (0, -signal.SIGKILL), said
            done += process.returncode == -signal.SIGKILL
            trials += 3 * (process.returncode == 0)
            check()
        return trials

    return kill


@pytest.fixture
def long_trials(tmp_path):
    """A tiny study with many β and longer distillation, so that most trials train something."""

    def make(toml):
        path = tmp_path / "tiny.toml"
        text = toml.read_text(encoding="utf-8")
        text = text.replace("distill_weight = [", "distill_weight = [0.02, 0.03, 0.05, 0.2, 0.3, 0.5, ")
        path.write_text(re.sub(r"distill_epochs = \d+", "distill_epochs = 6", text), encoding="utf-8")
        return path

    return make
