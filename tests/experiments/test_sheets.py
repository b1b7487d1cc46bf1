"""Sheets as text, and there and back as JSON."""

from paser_opt.compare.records import Difference, Equivalence, Estimate
from paser_opt.experiments.records import Column, Sheet
from paser_opt.experiments.sheets import cell_text, markdown

BETTER = Difference(difference=0.0123, low=0.004, high=0.02, p=0.01, p_holm=0.02, verdict="better")
SAME = Equivalence(difference=-0.001, low=-0.003, high=0.002, margin=0.01, p=0.0005, p_holm=0.001, verdict="equivalent")
ESTIMATE = Estimate(value=0.5, low=0.25, high=0.75)
SHEET = Sheet(
    title="One table",
    columns=[Column(name="what"), Column(name="IoU", kind="iou"), Column(name="less", kind="difference")],
    rows=[["a|b", ESTIMATE, BETTER], ["c", 0.25, SAME], ["d", None, None]],
    notes=["A note."],
)


def test_cells_read_as_their_column_says():
    assert cell_text(ESTIMATE, "iou") == "0.500 (0.250 … 0.750)"
    assert cell_text(ESTIMATE, "share") == "50.0\u00a0% (25.0\u00a0% … 75.0\u00a0%)"
    assert cell_text(0.0123, "latency") == "12.3\u00a0ms"
    assert cell_text(-0.0144, "change") == "-1.4\u00a0%"
    assert cell_text(0.00096, "ratio") == "0.00096"
    assert cell_text(BETTER, "difference") == "+0.012 (+0.004 … +0.020), p 0.02: better"
    assert cell_text(SAME, "difference") == "-0.001 (-0.003 … +0.002), p 0.001: equivalent"
    assert cell_text(None, "iou") == "–"


def test_markdown_holds_every_row_and_note():
    lines = markdown(SHEET, level=2).splitlines()
    assert lines[0] == "## One table"
    assert lines[2:4] == ["| what | IoU | less |", "| --- | --- | --- |"]
    assert lines[4].startswith("| a∣b | 0.500 (0.250 … 0.750) | +0.012")
    assert lines[6] == "| d | – | – |"
    assert lines[-1] == "- A note."


def test_a_sheet_is_itself_again_from_json():
    assert Sheet.model_validate_json(SHEET.model_dump_json()) == SHEET
    assert SHEET.column("less") == [BETTER, SAME, None]
