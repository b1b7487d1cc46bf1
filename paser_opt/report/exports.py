"""The front as files: front.csv and front.json."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from ..config import OBJECTIVES
from ..records import Quantity, TrialRecord
from .info import Info

__all__ = ["front_csv", "front_json"]


def _flat(info: Info, trial: TrialRecord) -> dict[str, Any]:
    """One front member as a flat row, SI units."""
    point, val = info.point(trial.number), trial.val
    assert val is not None  # a front member is complete
    row: dict[str, Any] = {"trial": trial.number, "tag": trial.tag, "knee": trial.number == info.knee}
    row |= {"iou_val": val.iou, "iou_val_low": val.iou_low, "iou_val_high": val.iou_high}
    test = point.test_iou
    row |= {
        "iou_test": test.value if test else None,
        "iou_test_low": test.low if test else None,
        "iou_test_high": test.high if test else None,
    }
    row |= {
        "gflops": val.cost.gflops,
        "latency_s": val.cost.latency_s.value,
        "latency_how": _how(val.cost.latency_s),
        "energy_j": val.cost.energy_j.value,
        "energy_how": _how(val.cost.energy_j),
        "memory_bytes": val.cost.memory_bytes.value,
        "iou_per_gflop": val.iou_per_gflop,
        "iou_per_gflop_paper": val.iou_per_gflop_paper,
    }
    row |= {f"usage_f{i}": part for i, part in enumerate(val.usage)}
    return row | {f"param_{name}": value for name, value in trial.params.items()}


def _how(value: Quantity) -> str | None:
    return None if value.value is None else value.how


def front_csv(info: Info) -> str:
    """The front as CSV, one row a member; a figure that is missing is an empty cell."""
    rows = [_flat(info, info.trial(number)) for number in info.front]
    names = dict.fromkeys(name for row in rows for name in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def front_json(info: Info) -> str:
    """The front as JSON: the study's identity and the members' whole records."""
    content = {
        "study": info.run.study.name,
        "device": info.run.study.device,
        "objectives": {name: OBJECTIVES[name] for name in info.objectives},
        "reference": info.run.reference,
        "knee": info.knee,
        "front": [info.trial(number).model_dump(mode="json") for number in info.front],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
