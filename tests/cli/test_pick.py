"""Limits of pick: what it says can be given back to it."""

import pytest

from paser_opt.cli.pick import _as_limit, _quantity


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("latency", 0.0083911, "8.4ms"),
        ("latency", 0.0084, "8.4ms"),
        ("latency", 1.2341, "1.24s"),
        ("latency", 0.9999, "1s"),
        ("energy", 0.00041, "0.41mJ"),
        ("gflops", 0.12345, "0.124"),
        ("iou", 0.79499, "0.794"),
    ],
)
def test_a_limit_to_copy_is_kept_by_what_it_was_made_of(name, value, said):
    assert _as_limit(name, value) == said


def test_every_limit_of_three_digits_is_kept_by_the_figure_itself():
    for digits in range(100, 1000):
        value = float(f"{digits}e-4")
        assert _quantity(_as_limit("latency", value), "--max-latency", "s") == value
        assert _quantity(_as_limit("energy", value), "--max-energy", "j") == value
