"""The report: one file, complete, escaped, and asking for nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from fathom_onnx.analysis.report.page import Further, Page, Section, Table, TableCell, side_by_side
from fathom_onnx.analysis.report.report import Report, _together, duration, percent, render
from fathom_onnx.analysis.similarity.similarity import framework_effect
from support.runs.summaries import summary

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Parsed(HTMLParser):
    """Elements, attributes and text of a page, and whether its tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def full() -> Report:
    runs = [
        summary(
            "residual", "torch", facts={"step_us": 12345.0, "outside_share": 0.0123, "steps": 20}, Conv2D=93, Relu=7
        ),
        summary("residual", "tensorflow", Conv2D=90, Relu=10),
        summary("autoenc", "torch", MatMul=80, Softplus=20),
    ]
    runs[0]["unattributed"] = [{"node": EVIL, "op_type": "Odd", "us": 3.0, "reason": "inserted"}]
    runs[0]["data"] = {"source": "photographs", "kind": "real", "description": "crops"}
    runs[0]["by_layer"].append({"name": EVIL, "us": 0.5, "share": 0.0001, "nodes": 1234567})
    return Report(
        title=f"Study {EVIL}",
        verdict=f"It holds {EVIL}",
        subtitle="preset tiny",
        findings=["first finding", "second finding"],
        summaries=runs,
        effects=[framework_effect(runs, level) for level in ("class", "op")],
        checks=[
            {"name": "residual training", "passed": True, "detail": "error 1e-6"},
            {"name": EVIL, "passed": False, "detail": EVIL},
        ],
        failures=[{"what": "autoenc training (tensorflow)", "stage": "export", "error": EVIL}],
        manifests={"residual inference (torch)": {"cpu": EVIL, "opset": {"ai.onnx": 18}, "list": [1, 2]}},
        commands=["fathom-onnx study -o x", f"echo '{EVIL}'"],
    )


@pytest.fixture(scope="module")
def html() -> str:
    return render(full())


@pytest.fixture(scope="module")
def page(html: str) -> Parsed:
    return Parsed(html)


def test_the_page_says_everything_it_was_given(page: Parsed) -> None:
    for said in (
        f"Study {EVIL}",
        f"It holds {EVIL}",
        "preset tiny",
        "first finding",
        "second finding",
        "autoenc training (tensorflow)",
        "residual inference: torch and tensorflow",
        "In 2 of 2 runs",
        "error 1e-6",
        "12.3 ms",
        "outside share",
        "1.2%",
        "1,234,567",
        "opset.ai.onnx",
        "[1, 2]",
        "fathom-onnx study -o x",
        "D Convolution",
        "photographs (real)",
        "inserted",
        "<0.1%",
    ):
        assert said in page.words, said


def test_the_verdict_comes_before_the_figures_and_they_before_the_tables(html: str) -> None:
    places = [
        html.index(f'id="{anchor}"') for anchor in ("verdict", "failures", "figures", "frameworks", "verification")
    ]
    places += [html.index(f'id="{anchor}"') for anchor in ("runs", "manifests", "reproduce")]
    assert places == sorted(places)


def test_no_name_becomes_markup(html: str, page: Parsed) -> None:
    assert page.count("script") == 1
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(") >= 8


def test_nothing_is_asked_for_from_outside(html: str, page: Parsed) -> None:
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for tag, attributes in page.tags:
        assert tag not in ("img", "link", "iframe", "object", "embed")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("xlink:href") or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    assert "@import" not in style
    assert "url(" not in style


def test_the_pages_policy_lets_its_own_script_run(html: str) -> None:
    import base64
    import hashlib

    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html


def test_light_and_dark_and_small_screens_have_their_rules(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "@media (max-width: 40rem)" in html


def test_every_table_scrolls_inside_its_own_container(html: str) -> None:
    assert re.findall(r"<table", html)
    for match in re.finditer(r"<table", html):
        assert re.search(r'<div class="scroll"[^>]*>\s*$', html[: match.start()])


def test_numbers_sort_by_value_and_not_by_their_text(page: Parsed) -> None:
    values = [a["data-value"] for t, a in page.tags if t == "td" and a.get("class", "").startswith("number")]
    assert values
    assert all(float(v) >= 0 for v in values)


def test_links_lead_to_sections_there_are(page: Parsed) -> None:
    targets = {a["href"][1:] for t, a in page.tags if t == "a"}
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert targets <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_clean_study_is_marked_good_and_one_with_a_fault_bad(html: str) -> None:
    assert '<section id="verdict" class="verdict bad">' in html
    clean = Report("t", "v", summaries=[summary("a", Add=1)], checks=[{"name": "c", "passed": True, "detail": "d"}])
    assert '<section id="verdict" class="verdict good">' in render(clean)


def test_a_report_with_nothing_but_a_verdict_has_no_empty_sections() -> None:
    bare = render(Report("t", "No cell ran."))
    assert re.findall(r'<section id="([^"]+)"', bare) == ["verdict"]
    assert Parsed(bare).count("svg") == 0


def test_a_run_on_a_page_stands_nowhere_else() -> None:
    runs = [summary("residual", Conv2D=3), summary("autoenc", MatMul=3)]
    steps = Section("steps", "Steps", ["lead of steps"], tables=[Table("Times", ["run"], [[EVIL]])])
    page = Page(f"workload-{EVIL}", f"title {EVIL}", EVIL, ["lead of the page"], [steps], runs[:1])
    index = Section("index", "All", tables=[Table("Index", ["workload"], [[TableCell("there", to=page.anchor)]])])
    html = render(Report("t", "v", summaries=runs, closing=[index], pages=[page], commands=["again"]))
    shown = Parsed(html)
    assert EVIL not in html
    assert {"id": page.anchor, "class": "page"} in [a for t, a in shown.tags if t == "section"]
    assert [a["href"] for t, a in shown.tags if t == "a"].count(f"#{page.anchor}") == 2  # the list of pages, the table
    links = [a["href"][1:] for t, a in shown.tags if t == "a"]
    assert links[:5] == ["verdict", "figures", "runs", "index", "reproduce"]
    assert "lead of the page" in shown.words
    assert "lead of steps" in shown.words
    own = html[html.index('class="page"') : html.index("How to make this again")]
    assert "residual inference (torch)" in own
    assert "autoenc inference (torch)" not in own
    assert html.count("<strong>residual inference (torch)</strong>") == 1
    assert "By layer" not in own


def test_times_side_by_side() -> None:
    runs = {"torch": summary("a", Conv2D=90, Relu=10), "tensorflow": summary("a", Conv2D=60, Add=140)}
    further = Further(["GFLOP/s"], {"torch": {"Conv2D": [TableCell("5", 5)]}})
    table = side_by_side("ops", runs, "by_op", "op", duration, further)
    assert table.columns == ["op", "torch", "share", "GFLOP/s", "tensorflow", "share", "GFLOP/s", "gap, points"]
    assert [[cell.text for cell in row] for row in table.cells] == [
        ["Conv2D", "90 µs", "90.0%", "5", "60 µs", "30.0%", "", "60.0"],
        ["Add", "-", "0.0%", "", "140 µs", "70.0%", "", "70.0"],
        ["Relu", "10 µs", "10.0%", "", "-", "0.0%", "", "10.0"],
    ]
    alone = side_by_side("ops", {"torch": runs["torch"]}, "by_op", "op", duration)
    assert alone.columns == ["op", "torch", "share"]


def test_one_run_is_a_report_too() -> None:
    page = Parsed(render(Report("t", "v", summaries=[summary("a", Conv2D=3, Add=1)])))
    assert page.count("svg") == 3  # no distances
    assert {"open": None} in [a for t, a in page.tags if t == "details"]


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 µs"),
        (0.123, "0.123 µs"),
        (999, "999 µs"),
        (1000, "1 ms"),
        (12345, "12.3 ms"),
        (2.5e6, "2.5 s"),
        (3.2e9, "3,200 s"),
        (999_700, "1,000 ms"),
        (123_456, "123 ms"),
    ],
)
def test_durations(us: float, text: str) -> None:
    assert duration(us) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0%"), (0.00001, "<0.1%"), (0.0005, "0.1%"), (0.5, "50.0%"), (1, "100.0%")]
)
def test_percents(share: float, text: str) -> None:
    assert percent(share) == text


def test_many_runs_have_a_drawing_of_distances_a_mode() -> None:
    frameworks, modes = ("torch", "tensorflow", "jax"), ("inference", "training")
    runs = [summary(f"w{n}", f, m, Add=1.0) for n in range(7) for f in frameworks for m in modes]
    together = _together(runs)
    assert list(together) == ["Distances, inference", "Distances, training"]
    assert [len(several) for several in together.values()] == [21, 21]
    assert {name: len(several) for name, several in _together(runs[:36]).items()} == {"Distances": 36}
