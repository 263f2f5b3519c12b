"""The report in a real browser: no errors, no requests, readable on wide and narrow screens, in light and in dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.analysis.report import paper_figures
from fathom_onnx.analysis.report.bars import CLASS_KEY, Bar, BarRow, Bars
from fathom_onnx.analysis.report.overview import Mark, Overview, Tile
from fathom_onnx.analysis.report.page import CellState, Figure, Page, Section, Table, TableCell, side_by_side
from fathom_onnx.analysis.report.report import Report, duration, render
from fathom_onnx.analysis.report.strips import Strip, strip_svg
from fathom_onnx.analysis.report.workload_figures import MemoryBar, layers_under_the_roof, memory_bars
from fathom_onnx.analysis.similarity.similarity import RunLabel, framework_effect
from support.runs.small_rooflines import ROOFS
from support.runs.summaries import summary

EVIL = '<img src=x onerror="console.error(1)">' + "a_very_long_name" * 8
TITLE = "Study of 16 <b>workloads</b>"
BROWSER = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


PAGE = "workload-residual"


def page_sections(runs: list[dict[str, Any]]) -> list[Section]:
    """A roofline, memory and a folded table of layers, as the page of a workload has them."""
    under = {"torch": ROOFS["layer"], "tensorflow": ROOFS["layer"]}
    bars = [MemoryBar(EVIL, (10**6, 2 * 10**6, 3 * 10**6), 10**6, 5 * 10**5)]
    roof = Figure("Layers", partial(layers_under_the_roof, "r", {"inference": under, "training": under}), EVIL)
    wide = Table("Under the roof", [f"a long heading {n}" for n in range(13)], [[EVIL, *["1.23 GFLOP/s"] * 12]])
    layers = side_by_side("by layer", {"torch": runs[0], "tensorflow": runs[1]}, "by_layer", "layer", duration)
    return [
        Section("roofline", "Roofline", [EVIL], [roof], [wide]),
        Section("memory", "Memory", figures=[Figure("Memory", partial(memory_bars, "m", bars), EVIL)]),
        Section("layers", "Layers", tables=[layers], folded=True),
    ]


CLASSES = {"A": 0.3, "B": 0.1, "C": 0.2, "D": 0.35, "G": 0.05}


def filled(tiles: Sequence[Tile], bars: Sequence[Bar], workloads: int) -> Overview:
    """A first screen of so many workloads, with all claims."""
    rows = [BarRow(f"workload{n}", [bars, bars], PAGE) for n in range(workloads)]
    picture = Bars("Where the time goes", "Upper and lower.", ["training", "inference"], rows, CLASS_KEY, groups=2)
    states: list[CellState] = ["good", "bad", "open"]
    marks = [Mark(f"F{n} residual" if n % 3 else f"F{n}a", states[n % 3], EVIL, f"claim-{n % 20}") for n in range(35)]
    return Overview("Does the choice of framework matter?", tiles, "Points are distances.", picture, marks, "Claims")


def overview() -> Overview:
    """A first screen as full as it gets of two frameworks: four levels, the claims, sixteen workloads."""
    strips = [Strip("frameworks", [0.01, 0.2, 0.02], 0.08), Strip("workloads", [n / 100 for n in range(100)], 0.5)]
    tiles = [
        Tile(
            "Time in the frameworks themselves",
            "matters little",
            [("0.027", "between frameworks"), ("0.546", "between workloads")],
            ("good", "bad", "open", None)[n],
            strip_svg(f"strip-{n}", "distances", strips, floor=0.05, unit="training by op"),
            "ledger",
        )
        for n in range(4)
    ]
    return filled(tiles, [Bar("torch", CLASSES), Bar("tensorflow", {"D": 1.0})], 16)


def overview_of_three() -> Overview:
    """A first screen as full as it gets of three frameworks: three levels, the claims, eight workloads."""
    pairs = ("torch and tensorflow", "torch and jax", "tensorflow and jax")
    strips = [Strip(pair.replace(" and", ","), [0.0, 0.2, 0.02], 0.08) for pair in pairs]
    strips.append(Strip("workloads", [n / 100 for n in range(100)], 0.5))
    tiles = [
        Tile(
            "Time in the frameworks themselves (jax op by op; XLA fuses these)",
            "matters little",
            [("0.027", pairs[0]), ("0.546", "between workloads")],
            ("good", "bad", "open")[n],
            strip_svg(f"strip-{n}", "distances", strips, floor=0.05, unit="training by op"),
            "ledger",
            "; ".join(f"{pair}: matters little" for pair in pairs),
        )
        for n in range(3)
    ]
    return filled(tiles, [Bar(name, CLASSES) for name in ("torch", "tensorflow", "jax")], 8)


def page_text(first: Overview) -> str:
    runs = [
        summary("residual", "torch", facts={"step_us": 12345.0}, Conv2D=93, Relu=7),
        summary("residual", "tensorflow", Conv2D=90, Relu=10),
        summary("autoenc", "torch", MatMul=80, Softplus=20),
        summary(EVIL, "torch", Add=1),
    ]
    long = Table(
        "Ledger",
        ["claim", "ours"],
        [[TableCell(f"claim {n}", anchor=f"claim-{n}"), TableCell(str(n), n, "good")] for n in range(20)],
        note=EVIL,
    )
    drawn = Figure(
        "Figure 2", partial(paper_figures.cumulative_ops, {RunLabel(EVIL, "torch", "training"): {"Add": 1.0}}), EVIL
    )
    return render(
        Report(
            title=TITLE,
            verdict=EVIL,
            subtitle="subtitle",
            findings=[EVIL],
            opening=[Section("ledger", "The paper's claims", [EVIL], [drawn], [long])],
            closing=[
                Section("workloads", "Workloads", tables=[Table("W", ["w"], [[TableCell("to residual", to=PAGE)]])]),
            ],
            pages=[Page(PAGE, "residual", "residual", [EVIL], page_sections(runs[:2]), runs[:2])],
            summaries=runs,
            effects=[framework_effect(runs, "class")],
            checks=[{"name": EVIL, "passed": True, "detail": EVIL}],
            failures=[{"what": EVIL, "stage": "run", "error": EVIL}],
            manifests={EVIL: {"graph": EVIL, "threads": 2}},
            commands=[f"fathom-onnx study {EVIL}"],
            overview=first,
        )
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    with api.sync_playwright() as running:
        held = running.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield held
        held.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_text(overview()), "utf-8")
    return path


@pytest.fixture(scope="module")
def file_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "three.html"
    path.write_text(page_text(overview_of_three()), "utf-8")
    return path


class Opened:
    """A page that was opened, with everything it complained of and asked for."""

    def __init__(self, browser: Any, file: Path, width: int, scheme: str) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(file.as_uri())


VIEWS = [(width, scheme) for width in (1280, 400) for scheme in ("light", "dark")]


@pytest.fixture(scope="module", params=VIEWS, ids=[f"{w}-{s}" for w, s in VIEWS])
def opened(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Opened]:
    held = Opened(browser, file, *request.param)
    held.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    yield held
    held.page.close()


@pytest.fixture(scope="module", params=VIEWS, ids=[f"{w}-{s}" for w, s in VIEWS])
def turned(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Opened]:
    """The report at the page of a workload, reached by its link."""
    held = Opened(browser, file, *request.param)
    held.page.get_by_role("link", name="to residual").click()
    held.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    yield held
    held.page.close()


@pytest.mark.slow
def test_nothing_is_complained_of_and_nothing_is_asked_for(opened: Opened, file: Path) -> None:
    assert opened.complaints == []
    assert opened.requests == [file.as_uri()]


WIDEST = """() => [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll"))
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth)
  .map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 60)}`)"""


def test_the_page_is_no_wider_than_the_screen(opened: Opened) -> None:
    wide, screen = opened.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= screen, opened.page.evaluate(WIDEST)


def luminance(rgb: list[float]) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


COLOURS = """() => [...document.querySelectorAll("h1, h2, p, td, th, li, dd, figcaption, svg text")].map((e) => {
  const numbers = (text) => text.match(/[0-9.]+/g).map(Number);
  let at = e;
  while (numbers(getComputedStyle(at).backgroundColor)[3] === 0) at = at.parentElement;
  const style = getComputedStyle(e);
  const ink = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const ground = getComputedStyle(at).backgroundColor;
  return [numbers(ink).slice(0, 3), numbers(ground).slice(0, 3), parseFloat(style.fontSize), e.tagName];
})"""


def test_text_stands_out_from_its_background_and_is_large_enough(opened: Opened) -> None:
    found = opened.page.evaluate(COLOURS)
    assert len(found) > 50
    for ink, ground, size, tag in found:
        low, high = sorted((luminance(ink), luminance(ground)))
        if tag != "text":  # letters in drawings may stand on coloured areas; they have a test of their own
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground, tag)
            assert size >= 12, tag


def test_names_are_text_and_make_no_elements(opened: Opened) -> None:
    assert opened.page.locator("img").count() == 0
    assert opened.page.locator("h1").inner_text() == TITLE


@pytest.mark.slow
def test_a_long_table_can_be_searched_and_sorted(browser: Any, file: Path) -> None:
    page = Opened(browser, file, 1280, "light").page
    table = page.locator("#ledger table")
    page.locator("#ledger input[type=search]").fill("CLAIM 1")
    rows = table.locator("tbody tr:visible")
    assert rows.count() == 11  # 1 and 10 to 19
    assert page.locator("#ledger output").inner_text() == "11 of 20"
    table.get_by_role("button", name="ours").click()
    assert rows.first.locator("th").inner_text() == "claim 19"
    table.get_by_role("button", name="ours").click()
    assert rows.first.locator("th").inner_text() == "claim 1"
    page.close()


def test_what_has_no_number_comes_last_either_way(browser: Any, tmp_path: Path) -> None:
    rows = [["a", TableCell("unknown")], ["b", TableCell("2", 2)], ["c", TableCell("10", 10)], ["d", TableCell("")]]
    path = tmp_path / "report.html"
    path.write_text(render(Report("t", "v", opening=[Section("s", "S", tables=[Table("T", ["w", "n"], rows)])])))
    opened = Opened(browser, path, 1280, "light")
    for order in (["c", "b", "a", "d"], ["b", "c", "a", "d"]):
        opened.page.locator("#s thead button").nth(1).click()
        assert opened.page.locator("#s tbody th").all_inner_texts() == order
    assert opened.complaints == []
    opened.page.close()


def test_a_workloads_page_is_shown_alone_and_the_study_again_after_it(browser: Any, file: Path) -> None:
    page = Opened(browser, file, 1280, "light").page
    own, claims = page.locator(f"#{PAGE}"), page.locator("#ledger")
    assert (own.is_visible(), claims.is_visible()) == (False, True)
    page.get_by_role("navigation", name="Workloads").get_by_role("link", name="residual").click()
    assert (own.is_visible(), claims.is_visible()) == (True, False)
    page.get_by_role("link", name="Back to the first page").click()
    assert (own.is_visible(), claims.is_visible()) == (False, True)
    page.close()


def test_a_workloads_page_is_no_wider_than_the_screen(turned: Opened, file: Path) -> None:
    test_the_page_is_no_wider_than_the_screen(turned)
    assert turned.complaints == []
    assert {url.partition("#")[0] for url in turned.requests} == {file.as_uri()}


DRAWN = """() => [...document.querySelectorAll("#workload-residual svg text")].map((e) => {
  const rgb = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const card = getComputedStyle(document.querySelector("#workload-residual")).backgroundColor;
  return [rgb(getComputedStyle(e).fill), rgb(card), e.getBoundingClientRect().width];
})"""


def test_the_letters_of_its_drawings_stand_out(turned: Opened) -> None:
    found = turned.page.evaluate(DRAWN)
    assert len(found) > 20
    for ink, ground, width in found:
        low, high = sorted((luminance(ink), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5
        assert width > 0


@pytest.mark.parametrize("made", ["file", "file_of_three"])
def test_the_first_screen_needs_no_scrolling(browser: Any, made: str, request: pytest.FixtureRequest) -> None:
    page = Opened(browser, request.getfixturevalue(made), 1280, "light").page
    end = page.evaluate("document.querySelector('#overview').getBoundingClientRect().bottom")
    assert end <= 900
    beside, first = (page.locator(s).bounding_box() for s in (".contents", "#overview"))
    assert beside["x"] + beside["width"] <= first["x"]  # a side bar
    page.close()


CUT = """() => [...document.querySelectorAll("#overview *")]
  .filter((e) => !["I", "svg", "SVG"].includes(e.tagName) && !e.closest("svg"))
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline" && e.clientWidth)
  .map((e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`)"""

LAID_OVER = """() => {
  const kinds = ["tile", "marks a", "bars th", "track"].map((kind) => `#overview .${kind}`).join(", ");
  const boxes = [...document.querySelectorAll(kinds)].map((e) => [e.textContent, e.getBoundingClientRect()]);
  const found = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (across > 1 && down > 1) found.push([a, b]);
  }));
  return found;
}"""


def test_nothing_of_the_first_screen_is_cut_or_lies_over_something_else(opened: Opened) -> None:
    assert opened.page.evaluate(CUT) == []
    assert opened.page.evaluate(LAID_OVER) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_cut_where_there_are_three_frameworks(browser: Any, file_of_three: Path, width: int) -> None:
    page = Opened(browser, file_of_three, width, "dark").page
    assert page.evaluate(CUT) == []
    assert page.evaluate(LAID_OVER) == []
    page.close()


LETTERS = """() => [...document.querySelectorAll(".bars i")].filter((e) => e.textContent).map((e) => {
  const rgb = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const style = getComputedStyle(e);
  return [rgb(style.color), rgb(style.backgroundColor), parseFloat(style.fontSize)];
})"""


def test_letters_in_bars_stand_out(opened: Opened) -> None:
    found = opened.page.evaluate(LETTERS)
    assert len(found) > 50
    for ink, ground, size in found:
        low, high = sorted((luminance(ink), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5
        assert size >= 12


def test_a_wide_table_keeps_its_first_column(browser: Any, file: Path) -> None:
    page = Opened(browser, file, 400, "light").page
    page.goto(f"{file.as_uri()}#{PAGE}")
    box = page.locator("#workload-residual .scroll", has=page.locator("th", has_text="a long heading 12"))
    first = box.locator("tbody th").first
    before = first.bounding_box()
    box.evaluate("(e) => { e.scrollLeft = 300; }")
    assert first.bounding_box()["x"] == before["x"]
    assert before["width"] < 200  # something of the other columns is seen beside it
    page.close()


def test_marks_and_rows_are_reached_with_the_keyboard_alone(browser: Any, file: Path) -> None:
    page = Opened(browser, file, 1280, "light").page
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "F4 residual":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector(':target').textContent").strip().startswith("claim 4")
    top = "document.querySelector(':target').getBoundingClientRect().top"
    on_screen = f"() => {top} >= 0 && {top} < 900"
    page.wait_for_function(on_screen, timeout=5000)  # it scrolls there smoothly
    page.keyboard.press("Tab")  # goes on from there
    assert page.evaluate("Boolean(document.activeElement)")
    page.close()


def test_it_prints_with_every_page_and_without_the_side_bar(browser: Any, file: Path, tmp_path: Path) -> None:
    page = Opened(browser, file, 1280, "light").page
    page.emulate_media(media="print")
    assert page.locator(f"#{PAGE}").is_visible()
    assert not page.locator(".contents").is_visible()
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
    page.close()
