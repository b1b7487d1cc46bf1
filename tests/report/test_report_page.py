"""The page in headless Chromium, and the files beside it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from report_runs import EVIL, trial
from test_report_versus import comparison

from paser_opt.errors import RunError
from paser_opt.report import write_report
from paser_opt.report.page import embedded
from paser_opt.report.versus import write_comparison
from paser_opt.runs import RunFolder

LOCAL = ("file:", "data:", "blob:")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no `chromium` on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield started
        started.close()


@pytest.fixture()
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a report; at the end no error, dialog or request beyond the file may have happened."""
    faults: list[str] = []
    pages: list[Page] = []

    def opened(report: Path, *, width: int = 1440, theme: str = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(LOCAL) or faults.append(request.url))
        page.goto(report.as_uri())
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert faults == []


@pytest.fixture()
def report(small_run: RunFolder) -> Path:
    return write_report(small_run)


def scrolled(page: Page) -> None:
    """Figures below are drawn when they come into view."""
    for name in ("history", "parallel"):
        page.locator(f"#{name}-plot").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{name}-plot .main-svg")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_renders_and_keeps_nobody_out(visit: Callable[..., Page], report: Path, width: int, theme: str) -> None:
    page = visit(report, width=width, theme=theme)
    page.wait_for_selector("#front-plot .scatterlayer .point")
    scrolled(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth === 80)")
    assert page.locator("h1").inner_text().startswith("Deploy trial 3: IoU 0.58")
    assert serious_faults(page) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_comparison(visit: Callable[..., Page], tmp_path: Path, theme: str) -> None:
    page = visit(write_comparison(comparison(), tmp_path), width=390, theme=theme)
    page.wait_for_selector("#plot-latency .scatterlayer .point")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert serious_faults(page) == []


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']} – {node['html'][:120]}"
        for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]
    ]  # fmt: skip


def place_of(page: Page) -> list[float]:
    """[x, y] on the screen of the first member of the front."""
    place: list[float] = page.evaluate(
        """() => { const plot = document.getElementById("front-plot");
        const { x, y } = plot.data.find((trace) => trace.name === "front on val");
        const { _size: size, xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
        return [box.left + size.l + xaxis.d2p(x[0]), box.top + size.t + yaxis.d2p(y[0])]; }"""
    )
    return place


def test_hover_shows_the_figures(visit: Callable[..., Page], report: Path) -> None:
    page = visit(report)
    point = page.locator("#front-plot .scatterlayer .trace", has_text="3").locator(".point").first
    point.wait_for()
    page.locator("#front-plot").scroll_into_view_if_needed()
    page.mouse.move(*place_of(page))
    shown = page.locator("#front-plot .hoverlayer .hovertext")
    shown.wait_for()
    text = shown.text_content() or ""
    for part in (
        "trial 1",
        "IoU, test: 0.490",
        "usage: f_0",
        "λ · β · S: 0.17",
        "2·MACs",
        "missing: no power",
    ):
        assert part in text.replace("\u00a0", " ")


def test_a_tap_on_a_phone_fills_the_card(visit: Callable[..., Page], report: Path) -> None:
    page = visit(report, width=390)
    labels = page.evaluate(
        "document.getElementById('front-plot').data.find((trace) => trace.name === 'front on val').hovertext"
    )
    assert labels[0].replace("\u00a0", " ") == "<b>trial 1</b><br>IoU, val: 0.500<br>IoU, test: 0.490<br>latency: 10 ms"
    page.locator("#front-plot").scroll_into_view_if_needed()
    page.mouse.click(*place_of(page))
    assert page.locator("#verdict").inner_text().startswith("Trial 1: ")


def visible(page: Page, meta: str) -> bool:
    return bool(
        page.evaluate(
            "(meta) => document.getElementById('front-plot').data.filter((trace) => trace.meta === meta)"
            ".every((trace) => trace.visible !== false)",
            meta,
        )
    )


def test_toggles(visit: Callable[..., Page], report: Path) -> None:
    page = visit(report)
    axis = "document.getElementById('front-plot').layout.xaxis.type"
    assert page.evaluate(axis) == "linear"
    page.get_by_label("logarithmic cost").first.check()
    assert page.evaluate(axis) == "log"
    assert visible(page, "rest") and visible(page, "alone") and visible(page, "test")
    page.get_by_label("test IoU").uncheck()
    assert not visible(page, "test")
    page.get_by_label("front only").check()
    assert not visible(page, "rest") and not visible(page, "alone")
    page.locator("#history-plot").scroll_into_view_if_needed()
    page.get_by_label("Against").select_option("clock")
    assert page.evaluate("document.getElementById('history-plot').layout.xaxis.title.text") == "search time (s)"


def test_slider_names_the_trial_to_deploy(visit: Callable[..., Page], report: Path) -> None:
    page = visit(report)
    verdict, slider = page.locator("#verdict"), page.locator("#slider")
    assert verdict.inner_text().startswith("Deploy trial 3: IoU 0.580 on test, 16")
    slider.focus()
    page.keyboard.press("End")
    assert verdict.inner_text().startswith("Deploy trial 4")
    page.keyboard.press("Home")
    assert verdict.inner_text().startswith("Deploy trial 1")
    page.get_by_label("My").select_option("iou")
    page.locator("#slider").focus()
    page.keyboard.press("End")
    assert verdict.inner_text().startswith("Deploy trial 4")
    page.get_by_role("button", name="show trial 1").press("Enter")
    assert verdict.inner_text().startswith("Trial 1: ")
    assert "missing: no power sensor" in page.locator("#details").inner_text()


def test_tables_sort_and_gallery_follows(visit: Callable[..., Page], report: Path) -> None:
    page = visit(report)
    numbers = "[...document.querySelectorAll('#front tbody tr')].map((row) => row.cells[0].dataset.key)"
    head = page.locator("#front th button", has_text="IoU, val")
    head.click()
    head.click()
    assert page.evaluate(numbers) == ["4", "3", "1"]
    assert page.locator(".shot:visible").count() == 2
    page.locator("#shots").select_option("4")
    assert page.locator(".shot:visible").first.get_attribute("data-trial") == "4"


def test_a_patch_tells_its_model_and_what_was_to_be_gained(visit: Callable[..., Page], report: Path) -> None:
    page = visit(report)
    titles = page.locator(".shot svg title").all_text_contents()
    assert "row 1, column 2: f_1, confidence 0.60; best: f_1, gain +0.125" in titles


def test_the_report_shows_the_comparison_of_its_run(visit: Callable[..., Page], small_run: RunFolder) -> None:
    write_comparison(comparison(), small_run.path / "compare")
    page = visit(write_report(small_run), width=390)
    shown = page.locator("#compared")
    assert "The pipeline beats the entropy threshold" in shown.inner_text()
    assert "Routing earns its cost within" in shown.inner_text()
    assert shown.locator("table tbody tr").count() == len(comparison().routers)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    shown.locator("a").click()
    page.wait_for_selector("#plot-latency")


def test_text_of_users_is_inert(visit: Callable[..., Page], report: Path) -> None:
    assert EVIL not in report.read_text(encoding="utf-8")
    page = visit(report)
    page.wait_for_selector("#front-plot .main-svg")
    assert EVIL in page.locator(".facts").inner_text()
    assert EVIL in page.locator("figcaption").first.inner_text()


def test_embedded_json_cannot_leave_its_script() -> None:
    nasty = {"name": "</script><!--<script>&\u2028"}
    text = embedded(nasty)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == nasty


@pytest.mark.parametrize("trials", [[], [trial(0, None, state="failed", reason="out of memory")]])
def test_a_run_without_a_complete_trial_says_so(
    visit: Callable[..., Page], make_run: Callable[..., RunFolder], trials: list
) -> None:
    run = make_run(trials, finished=False, reference=None)
    page = visit(write_report(run), width=390)
    assert "No trial is complete" in page.locator("h1").inner_text()
    assert ("out of memory" in page.locator("#findings").inner_text()) == bool(trials)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert json.loads((run.path / "front.json").read_text())["front"] == []


def test_one_complete_trial_is_enough(visit: Callable[..., Page], make_run: Callable[..., RunFolder]) -> None:
    page = visit(write_report(make_run([trial(0, 0.6, 0.02)], reference=None)))
    page.wait_for_selector("#front-plot .main-svg")
    assert "no reference point" in page.locator("#history").inner_text()


def test_files_beside_the_page(small_run: RunFolder, report: Path) -> None:
    with (small_run.path / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["1", "3", "4"]
    assert (rows[1]["latency_s"], rows[1]["energy_j"], rows[1]["knee"]) == ("0.016", "", "True")
    content = json.loads((small_run.path / "front.json").read_text(encoding="utf-8"))
    assert (content["knee"], content["objectives"]) == (3, {"iou": "maximize", "latency": "minimize"})
    assert [each["number"] for each in content["front"]] == [1, 3, 4]


def test_a_missing_picture_is_said(visit: Callable[..., Page], small_run: RunFolder) -> None:
    (small_run.gallery / "0-truth.png").unlink()
    page = visit(write_report(small_run))
    assert "0-truth.png cannot be read" in page.locator("#gallery").inner_text()


def test_a_damaged_record_is_one_clear_line(small_run: RunFolder) -> None:
    small_run.trial_file(3).write_text("{")
    with pytest.raises(RunError, match=r"trial\.json is damaged"):
        write_report(small_run)


def test_report_imports_no_torch() -> None:
    code = "import sys, paser_opt.report; print({'torch', 'codecarbon'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
