import sys

import pytest

from paser_opt.errors import RunError
from paser_opt.pareto import front, hypervolume
from paser_opt.records import Latency, Quantity, read_record, versions, write_bytes


def test_a_record_comes_back_as_it_went(tmp_path):
    latency = Latency(median_s=1e-3, p95_s=None, low_s=9e-4, high_s=2e-3, samples=7, stable=False, verdict="not stable")
    latency.write(tmp_path / "a" / "latency.json")
    assert read_record(Latency, tmp_path / "a" / "latency.json") == latency


def test_damage_names_the_file_and_the_field(tmp_path):
    path = tmp_path / "latency.json"
    path.write_text('{"median_s": -1}', encoding="utf-8")
    with pytest.raises(RunError, match=r"latency\.json is damaged or of another version: median_s: .*greater than 0"):
        read_record(Latency, path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"latency\.json is not a text file"):
        read_record(Latency, path)
    with pytest.raises(RunError, match="cannot read"):
        read_record(Latency, tmp_path / "absent.json")


def test_a_missing_value_needs_a_reason():
    with pytest.raises(ValueError, match="needs a reason"):
        Quantity(value=None, how="measured")


def test_a_file_is_whole_or_not_there(tmp_path):

    write_bytes(tmp_path / "x", b"old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "x", "text")  # type: ignore[arg-type]
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_interrupt_at_any_line_leaves_the_old_file_or_the_new_one_and_no_other(tmp_path):
    path = tmp_path / "x"

    def interrupted(at: int) -> bool:
        """Write, with a Ctrl-C at the start of the ``at``-th line of the writer; False where it has fewer."""
        left = at

        def line(_frame, event, _argument):
            nonlocal left
            if event == "line":
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return line

        path.write_bytes(b"old")
        sys.settrace(lambda frame, _event, _argument: line if frame.f_code is write_bytes.__code__ else None)
        try:
            write_bytes(path, b"new")
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    at = 1
    while interrupted(at):
        assert [one.name for one in tmp_path.iterdir()] == ["x"], at
        assert path.read_bytes() in (b"old", b"new"), at
        at += 1
    assert at > 8
    assert path.read_bytes() == b"new"


def test_front_and_hypervolume_by_hand():
    points = [
        {"iou": 0.5, "latency": 1.0},
        {"iou": 0.6, "latency": 2.0},
        {"iou": 0.5, "latency": 2.0},  # dominated by both
        {"iou": 0.5, "latency": 1.0},  # the first of equals is kept
    ]
    assert front(points, ["iou", "latency"]) == [0, 1]
    # Against (0, 3): 0.5 × 2 below the first, 0.1 × 1 more from the second.
    assert hypervolume(points, ["iou", "latency"], {"iou": 0.0, "latency": 3.0}) == pytest.approx(1.1)
    assert front([], ["iou", "latency"]) == []
    assert hypervolume([], ["iou", "latency"], {"iou": 0.0, "latency": 3.0}) == 0


def test_a_package_that_is_not_installed_has_no_version():
    from importlib.metadata import version

    assert versions("torch", "no-such-package") == {"torch": version("torch"), "no-such-package": "not installed"}
