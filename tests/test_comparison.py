"""Comparing two runs: what is said of each row, and that the rows explain the difference of the totals."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small_runs import Executed, hand_run

from fathom_onnx.analysis.comparison import LEVELS, compare, worse_than
from fathom_onnx.analysis.run import Run
from fathom_onnx.analysis.run_facts import causes, differences
from fathom_onnx.analysis.significance import Steps, evidence, steps_to_separate, steps_to_show
from fathom_onnx.analysis.verdicts import Row
from fathom_onnx.errors import RunError, UsageError

CONV, RELU, FC = "forward/conv/Conv2D", "forward/relu/Relu", "forward/fc/MatMul"
EIGHT = np.arange(8)


def two_layers(conv: int, fc: int, **facts: Any) -> Run:
    """A fused convolution (three quarters conv, a quarter relu) and a product; eight steps one microsecond apart."""
    return hand_run(
        [
            Executed("c", conv + 4 * EIGHT, {CONV: 0.75, RELU: 0.25}),
            Executed("f", fc + EIGHT, {FC: 1.0}),
        ],
        outside=10 + EIGHT,
        **facts,
    )


def by_name(rows: tuple[Row, ...]) -> dict[str, Row]:
    return {row.name or row.kind: row for row in rows}


def test_a_slower_layer_is_found_and_the_rest_is_the_same() -> None:
    found = compare(two_layers(1000, 500), two_layers(2000, 500))
    layers = by_name(found.tables["layer"])
    # medians: 1014 and 2014 of the fused node, 503.5 of the product
    assert (layers["conv"].a_us, layers["conv"].b_us) == (760.5, 1510.5)
    assert (layers["relu"].a_us, layers["relu"].b_us) == (253.5, 503.5)
    assert layers["conv"].difference_us == 750
    assert layers["conv"].ratio == 1510.5 / 760.5
    assert (layers["fc"].a_us, layers["fc"].b_us, layers["fc"].difference_us) == (503.5, 503.5, 0)
    assert {name: row.verdict for name, row in layers.items()} == {"conv": "slower", "relu": "slower", "fc": "same"}
    assert [row.name for row in found.tables["layer"]] == ["conv", "relu", "fc"]
    # without any overlap: 2 / C(16, 8), corrected as the first two of three rows
    assert layers["conv"].p == pytest.approx(2 / math.comb(16, 8) * 3 / 2, rel=1e-12)
    assert layers["fc"].p == 1
    low, high = layers["conv"].low, layers["conv"].high
    assert low is not None
    assert high is not None
    assert low <= 1510.5 / 760.5 <= high
    assert (layers["fc"].low or 0) < 1 < (layers["fc"].high or 0)
    back = by_name(compare(two_layers(2000, 500), two_layers(1000, 500)).tables["layer"])
    assert {name: row.verdict for name, row in back.items()} == {"conv": "faster", "relu": "faster", "fc": "same"}


def test_totals() -> None:
    totals = compare(two_layers(1000, 500), two_layers(2000, 500, control=2600.0 + EIGHT)).totals
    assert list(totals) == ["control", "step", "run", "nodes", "outside"]
    # 1014 + 503.5 in nodes, 13.5 outside
    assert (totals["nodes"].a_us, totals["outside"].a_us, totals["run"].a_us) == (1517.5, 13.5, 1531)
    assert (totals["nodes"].b_us, totals["outside"].b_us, totals["run"].b_us) == (2517.5, 13.5, 2531)
    assert totals["control"].b_us == 2603.5
    verdicts = [totals[name].verdict for name in ("control", "step", "run", "nodes", "outside")]
    assert verdicts == ["slower", "slower", "slower", "slower", "same"]


def test_charged_and_unattributed_time_have_rows_of_their_own() -> None:
    ten = [10] * 8
    a = hand_run([Executed("c", [100] * 8, {CONV: 1.0}), Executed("m", ten, {CONV: 1.0}, "charged")], outside=ten)
    b = hand_run([Executed("c", [100] * 8, {CONV: 1.0}), Executed("x", ten, kind="unattributed")], outside=ten)
    for level in LEVELS:
        rows = compare(a, b, [level]).tables[level]
        found = {row.kind: (row.a_us, row.b_us, row.difference_us, row.verdict) for row in rows}
        assert found == {
            "attributed": (100, 100, 0, "same"),
            "charged": (10, None, -10, "only in A"),
            "unattributed": (None, 10, 10, "only in B"),
        }


def test_rows_of_one_run_only_are_listed() -> None:
    a = hand_run([Executed("c", [100] * 8, {CONV: 1.0})], outside=[1] * 8)
    b = hand_run([Executed("f", [50] * 8, {FC: 1.0})], outside=[1] * 8, graph_sha256="1" * 64)
    found = compare(a, b)
    rows = by_name(found.tables["layer"])
    assert (rows["conv"].verdict, rows["conv"].difference_us, rows["conv"].p) == ("only in A", -100, None)
    assert (rows["fc"].verdict, rows["fc"].difference_us, rows["fc"].ratio) == ("only in B", 50, None)
    # both are in phase forward
    (phase,) = found.tables["phase"]
    assert (phase.name, phase.a_us, phase.b_us, phase.verdict) == ("forward", 100, 50, "faster")


def test_nodes_are_matched_by_name_only_within_one_graph() -> None:
    a, b = two_layers(1000, 500), two_layers(1000, 500)
    other = two_layers(1000, 500, graph_sha256="1" * 64)
    assert compare(a, b).nodes_by_name
    assert {row.name for row in compare(a, b, ["node"]).tables["node"]} == {CONV, RELU, FC}
    parts = hand_run(
        [Executed("c", [5] * 8, {f"{FC}/Gemm_1": 0.5, f"{FC}/Add_2": 0.5})], outside=[1] * 8, graph_sha256="2" * 64
    )
    found = compare(other, parts, ["node"])
    assert not found.nodes_by_name
    rows = by_name(found.tables["node"])
    assert (rows["forward/fc/MatMul"].a_us, rows["forward/fc/MatMul"].b_us) == (503.5, 5)
    assert rows["forward/conv/Conv2D"].verdict == "only in A"


def test_a_change_below_the_threshold_is_the_same_however_significant() -> None:
    a, b = two_layers(1000, 5000), two_layers(1000, 5200)
    assert by_name(compare(a, b).tables["layer"])["fc"].verdict == "same"
    row = by_name(compare(a, b, threshold=0.03).tables["layer"])["fc"]
    assert row.verdict == "slower"
    assert row.p is not None
    assert row.p < 0.001


def test_a_change_below_the_cost_of_profiling_is_the_same() -> None:
    def run(us: int, floor: float | None) -> Run:
        return hand_run([Executed("f", us + EIGHT, {FC: 1.0}, calls=4)], outside=[1] * 8, floor_us=floor)

    verdicts = {
        floor: compare(run(100, floor), run(120, floor), ["layer"]).tables["layer"][0]
        for floor in (None, 0.0, 4.9, 5.0)
    }
    assert {floor: row.verdict for floor, row in verdicts.items()} == {
        None: "slower",
        0.0: "slower",
        4.9: "slower",
        5.0: "same",
    }
    assert verdicts[None].floor_us is None
    assert verdicts[5.0].floor_us == 20


def test_too_few_steps_are_said() -> None:
    def run(us: int, steps: int) -> Run:
        return hand_run([Executed("f", us + np.arange(steps), {FC: 1.0})], outside=[1] * steps)

    (row,) = compare(run(100, 3), run(900, 3), ["layer"]).tables["layer"]
    # 2 / C(6, 3) = 0.1 is not significant; 2 / C(8, 4) = 0.029 is
    assert (row.verdict, row.steps_needed, row.p) == ("undecided", 4, pytest.approx(0.1))
    (row,) = compare(run(100, 4), run(900, 4), ["layer"]).tables["layer"]
    assert (row.verdict, row.steps_needed) == ("slower", None)
    (row,) = compare(run(100, 1), run(900, 1), ["layer"]).tables["layer"]
    assert (row.verdict, row.low, row.high) == ("undecided", None, None)


def test_a_large_change_that_may_be_chance_is_undecided() -> None:
    noisy = np.array([60, 70, 90, 100, 130, 150, 210, 300])
    a = hand_run([Executed("f", noisy, {FC: 1.0})], outside=[1] * 8)
    b = hand_run([Executed("f", noisy + 25, {FC: 1.0})], outside=[1] * 8)
    (row,) = compare(a, b, ["layer"]).tables["layer"]
    assert row.verdict == "undecided"
    above = float((noisy[None, :] + 25 > noisy[:, None]).mean() + (noisy[None, :] + 25 == noisy[:, None]).mean() / 2)
    assert row.steps_needed == steps_to_show(above, 1)
    assert (row.steps_needed or 0) > 8


def test_steps_needed() -> None:
    assert [steps_to_separate(rows) for rows in (1, 3, 100, 4000)] == [4, 5, 8, 10]
    assert steps_to_separate(100, 8, 8) is None
    assert steps_to_separate(100, 7, 7) == 8
    assert steps_to_separate(100, 5, 20) is None
    # Noether: (1.96 + 0.8416)^2 / (3 * 0.25) = 10.5 steps in both runs where all pairs agree
    assert steps_to_show(1.0, 1) == 6
    assert steps_to_show(0.0, 1) == 6
    assert steps_to_show(0.5, 1) is None
    assert steps_to_show(0.5001, 1) is None


def test_the_test_is_scipys_and_the_interval_that_of_the_sum_of_medians() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(100, 200, (10, 3)), rng.integers(120, 220, (12, 3))
    one = Steps(a.astype(float), np.array([[1.0], [1.0], [0.5]]))
    two = Steps(b.astype(float), np.array([[1.0], [1.0], [0.5]]))
    found = evidence(one, two)
    sums = a @ [1, 1, 0.5], b @ [1, 1, 0.5]
    assert len(set(np.concatenate(sums))) == 22
    expected = stats.mannwhitneyu(sums[1], sums[0], method="exact")
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.above[0] == pytest.approx(expected.statistic / 120)
    ratio = np.median(b, axis=0) @ [1, 1, 0.5] / (np.median(a, axis=0) @ [1, 1, 0.5])
    assert one.sizes[0] == pytest.approx(np.median(a, axis=0) @ [1, 1, 0.5])
    assert found.low[0] < ratio < found.high[0]
    assert 0.05 < found.high[0] - found.low[0] < 0.6
    again = evidence(one, two)
    assert (found.low[0], found.high[0]) == (again.low[0], again.high[0])


def test_ties_and_constants_are_no_evidence() -> None:
    constant = Steps(np.full((8, 1), 7.0), np.ones((1, 1)))
    found = evidence(constant, constant)
    assert (found.p[0], found.above[0], found.low[0], found.high[0]) == (1, 0.5, 1, 1)
    nothing = Steps(np.zeros((8, 1)), np.ones((1, 1)))
    found = evidence(nothing, constant)
    assert found.p[0] < 0.01
    assert np.isnan(found.low[0])
    apart = evidence(Steps(np.full((8, 1), 6.0), np.ones((1, 1))), constant)
    assert apart.p[0] == pytest.approx(stats.mannwhitneyu([7.0] * 8, [6.0] * 8, method="asymptotic").pvalue)


def test_what_runs_differ_in_is_said() -> None:
    a = two_layers(1000, 500)
    assert compare(a, a).differences == ()
    threads = compare(a, two_layers(1000, 500, threads=2))
    assert [(d.kind, d.name, d.a, d.b) for d in threads.differences] == [("threads", "threads", 1, 2)]
    assert threads.causes == ("threads",)
    mixed = compare(a, two_layers(1000, 500, threads=2, cpu="two", graph_sha256="1" * 64, seed=1))
    assert mixed.causes == ("graph", "threads", "machine")
    assert [d.kind for d in mixed.differences] == ["graph", "threads", "machine", "data"]
    assert differences({}, {"preset": "tiny"})[0].a is None
    assert causes(differences({"seed": 1}, {"seed": 2})) == ()


def test_the_unprofiled_step_decides_whether_a_run_is_slower_than_allowed() -> None:
    def found(us: float, steps: int = 8) -> Any:
        a = two_layers(1000, 500, control=1000.0 + np.arange(steps))
        return compare(a, two_layers(1000, 500, control=us + np.arange(steps)), [])

    assert worse_than(found(1200), 0.1)[0] == "yes"
    assert worse_than(found(1050), 0.1)[0] == "no"
    assert worse_than(found(900), 0.0)[0] == "no"
    assert worse_than(found(1000), 0.0)[0] == "no"
    answer, reason = worse_than(found(1200, steps=3), 0.1)
    assert answer == "unknown"
    # five totals are tested together: 2 / C(10, 5) = 0.0079 does
    assert "5 steps in each run are needed" in reason
    noisy = np.array([60.0, 70, 90, 100, 130, 150, 210, 300])
    a, b = two_layers(1, 1, control=noisy), two_layers(1, 1, control=noisy + 25)
    answer, reason = worse_than(compare(a, b, []), 0.1)
    assert answer == "unknown"
    assert "may be chance" in reason


def test_the_json_is_plain_and_finite() -> None:
    a = hand_run([Executed("z", [0] * 8, {CONV: 1.0}), Executed("c", [5] * 8, {FC: 1.0})], outside=[0] * 8)
    b = hand_run([Executed("z", [9] * 8, {CONV: 1.0})], outside=[0] * 8)
    made = compare(a, b).json()
    text = json.dumps(made, allow_nan=False)
    assert json.loads(text) == made
    assert made["schema"] == "fathom-onnx/compare/1"
    (row,) = [row for row in made["by_layer"] if row["name"] == "conv"]
    assert (row["a_us"], row["b_us"], row["ratio"], row["low"], row["verdict"]) == (0, 9, None, None, "slower")
    assert made["totals"]["outside"]["verdict"] == "same"


def test_bad_input() -> None:
    a = two_layers(1000, 500)
    with pytest.raises(UsageError, match="a threshold cannot be 150%"):
        compare(a, a, threshold=1.5)
    wrong = Run(a.manifest, a.nodes, a.attribution, a.steps, a.samples[:3], a.originals)
    with pytest.raises(RunError, match="samples do not fit"):
        compare(a, wrong)


ADDRESSES = [f"{phase}/{layer}/{op}" for phase in ("forward", "backward") for layer in "ab" for op in ("Mul", "Conv2D")]


@st.composite
def runs(draw: st.DrawFn) -> Run:
    steps = draw(st.integers(1, 4))
    times = st.lists(st.integers(0, 1000), min_size=steps, max_size=steps)
    nodes = []
    for index in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["attributed", "attributed", "charged", "unattributed"]))
        chosen = draw(st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3, unique=True))
        shares = draw(st.lists(st.floats(0.1, 1), min_size=len(chosen), max_size=len(chosen)))
        parts = {} if kind == "unattributed" else {n: s / sum(shares) for n, s in zip(chosen, shares, strict=True)}
        nodes.append(Executed(f"n{index}", draw(times), parts, kind))
    return hand_run(nodes, outside=draw(times), graph_sha256=draw(st.sampled_from("01")) * 64)


@settings(max_examples=25, deadline=None)
@given(runs(), runs())
def test_the_rows_explain_the_difference_of_the_totals(a: Run, b: Run) -> None:
    found = compare(a, b)
    whole = b.node_time_us - a.node_time_us
    for rows in found.tables.values():
        assert math.fsum(row.difference_us for row in rows) == pytest.approx(whole, rel=1e-9, abs=1e-9)
        assert sum(row.a_us or 0 for row in rows) == pytest.approx(a.node_time_us, rel=1e-9, abs=1e-9)
        assert sum(row.kind == "charged" for row in rows) <= 1
    totals = found.totals
    assert totals["nodes"].difference_us == pytest.approx(whole, rel=1e-9, abs=1e-9)
    outside = totals["outside"].difference_us
    assert totals["run"].difference_us == pytest.approx(whole + outside, rel=1e-9, abs=1e-9)
    assert totals["run"].b_us == pytest.approx(b.run_time_us)
    assert (totals["control"].a_us, totals["step"].a_us) == (a.control_us, a.step_us)
    json.dumps(found.json(), allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(runs())
def test_a_run_is_the_same_as_itself(run: Run) -> None:
    found = compare(run, run)
    for row in [row for rows in found.tables.values() for row in rows]:
        assert row.difference_us == 0
        assert row.verdict in ("same", "undecided")
        assert (row.verdict == "undecided") == (row.steps_needed is not None)


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Pairs of runs without any difference: one in twenty may have a row called slower or faster."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(60):
        made = [
            hand_run(
                [Executed(f"n{i}", rng.integers(800, 1200, 10), {f"forward/l{i}/Mul": 1.0}) for i in range(12)],
                outside=rng.integers(10, 20, 10),
            )
            for _ in range(2)
        ]
        rows = compare(*made, ["layer"], threshold=0).tables["layer"]
        alarms += any(row.verdict in ("slower", "faster") for row in rows)
    # P(more than 8 of 60) is below 1 percent at 5 percent each
    assert alarms <= 8
