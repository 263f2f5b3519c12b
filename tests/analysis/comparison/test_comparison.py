"""Comparing two runs: the verdict on each row, and rows that explain the difference of the totals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fathom_onnx.analysis.comparison import Row, compare, worse_than
from fathom_onnx.analysis.comparison.run_facts import causes, differences
from fathom_onnx.analysis.comparison.significance import (
    RowSamples,
    compare_steps,
    steps_to_separate,
    steps_to_show,
)
from fathom_onnx.analysis.runs import GROUPINGS, Run
from fathom_onnx.cli import main
from fathom_onnx.cli.run_commands.compare import command as compare_command
from fathom_onnx.cli.run_commands.roofline import command as roofline_command
from fathom_onnx.errors import RunError, UsageError
from fathom_onnx.profiling import profile
from support.graphs.small_models import cnn
from support.runs.small_runs import Executed, hand_run

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
    comparison = compare(two_layers(1000, 500), two_layers(2000, 500))
    layers = by_name(comparison.tables["layer"])
    # medians: 1014 and 2014 of the fused node, 503.5 of the product
    assert (layers["conv"].a_us, layers["conv"].b_us) == (760.5, 1510.5)
    assert (layers["relu"].a_us, layers["relu"].b_us) == (253.5, 503.5)
    assert layers["conv"].difference_us == 750
    assert layers["conv"].ratio == 1510.5 / 760.5
    assert (layers["fc"].a_us, layers["fc"].b_us, layers["fc"].difference_us) == (503.5, 503.5, 0)
    assert {name: row.verdict for name, row in layers.items()} == {"conv": "slower", "relu": "slower", "fc": "same"}
    assert [row.name for row in comparison.tables["layer"]] == ["conv", "relu", "fc"]
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
    for grouping in GROUPINGS:
        rows = compare(a, b, [grouping]).tables[grouping]
        rows_by_kind = {row.kind: (row.a_us, row.b_us, row.difference_us, row.verdict) for row in rows}
        assert rows_by_kind == {
            "attributed": (100, 100, 0, "same"),
            "charged": (10, None, -10, "only in A"),
            "unattributed": (None, 10, 10, "only in B"),
        }


def test_rows_of_one_run_only_are_listed() -> None:
    a = hand_run([Executed("c", [100] * 8, {CONV: 1.0})], outside=[1] * 8)
    b = hand_run([Executed("f", [50] * 8, {FC: 1.0})], outside=[1] * 8, graph_sha256="1" * 64)
    comparison = compare(a, b)
    rows = by_name(comparison.tables["layer"])
    assert (rows["conv"].verdict, rows["conv"].difference_us, rows["conv"].p) == ("only in A", -100, None)
    assert (rows["fc"].verdict, rows["fc"].difference_us, rows["fc"].ratio) == ("only in B", 50, None)
    # both are in phase forward
    (phase,) = comparison.tables["phase"]
    assert (phase.name, phase.a_us, phase.b_us, phase.verdict) == ("forward", 100, 50, "faster")


def test_nodes_are_matched_by_name_only_within_one_graph() -> None:
    a, b = two_layers(1000, 500), two_layers(1000, 500)
    other = two_layers(1000, 500, graph_sha256="1" * 64)
    assert compare(a, b).nodes_by_name
    assert {row.name for row in compare(a, b, ["node"]).tables["node"]} == {CONV, RELU, FC}
    parts = hand_run(
        [Executed("c", [5] * 8, {f"{FC}/Gemm_1": 0.5, f"{FC}/Add_2": 0.5})], outside=[1] * 8, graph_sha256="2" * 64
    )
    comparison = compare(other, parts, ["node"])
    assert not comparison.nodes_by_name
    rows = by_name(comparison.tables["node"])
    assert (rows["forward/fc/MatMul"].a_us, rows["forward/fc/MatMul"].b_us) == (503.5, 5)
    assert rows["forward/conv/Conv2D"].verdict == "only in A"


def test_a_change_below_the_threshold_is_the_same_however_significant() -> None:
    a, b = two_layers(1000, 5000), two_layers(1000, 5200)
    assert by_name(compare(a, b).tables["layer"])["fc"].verdict == "same"
    row = by_name(compare(a, b, threshold=0.03).tables["layer"])["fc"]
    assert row.verdict == "slower"
    assert row.p is not None
    assert row.p < 0.001


def test_a_change_below_the_cost_of_profiling_is_not_called_one() -> None:
    def run(us: int, floor: float | None) -> Run:
        return hand_run([Executed("f", us + EIGHT, {FC: 1.0}, calls=4)], outside=[1] * 8, floor=floor)

    verdicts = {
        floor: compare(run(100, floor), run(120, floor), ["layer"]).tables["layer"][0]
        for floor in (None, 0.0, 4.9, 5.0)
    }
    assert {floor: row.verdict for floor, row in verdicts.items()} == {
        None: "slower",
        0.0: "slower",
        4.9: "slower",
        5.0: "below floor",
    }
    assert verdicts[None].floor_us is None
    assert verdicts[5.0].floor_us == 20
    totals = compare(run(100, 5.0), run(120, 5.0), []).totals
    assert {name: row.floor_us for name, row in totals.items()} == {
        "control": 0,
        "step": 20,
        "run": 20,
        "nodes": 20,
        "outside": 20,
    }
    assert (totals["control"].verdict, totals["run"].verdict) == ("slower", "below floor")


def test_too_few_steps_are_undecided() -> None:
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


def test_a_difference_that_the_interval_does_not_confirm_is_undecided() -> None:
    a = hand_run([Executed("f", [93, 109, 133, 150, 170, 174, 183, 184], {FC: 1.0})], outside=[1] * 8)
    b = hand_run([Executed("f", [100, 144, 186, 189, 201, 207, 230, 249], {FC: 1.0})], outside=[1] * 8)
    (row,) = compare(a, b, ["layer"]).tables["layer"]
    assert row.significant
    assert (row.ratio, row.clear, row.verdict) == (195 / 160, False, "undecided")
    assert (row.low or 0) < 1
    # Noether's formula asks for more than these eight
    assert row.steps_needed == 14


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
    one = RowSamples(a.astype(float), np.array([[1.0], [1.0], [0.5]]))
    two = RowSamples(b.astype(float), np.array([[1.0], [1.0], [0.5]]))
    result = compare_steps(one, two)
    sums = a @ [1, 1, 0.5], b @ [1, 1, 0.5]
    assert len(set(np.concatenate(sums))) == 22
    expected = stats.mannwhitneyu(sums[1], sums[0], method="exact")
    assert result.p[0] == pytest.approx(expected.pvalue)
    assert result.above[0] == pytest.approx(expected.statistic / 120)
    ratio = np.median(b, axis=0) @ [1, 1, 0.5] / (np.median(a, axis=0) @ [1, 1, 0.5])
    assert one.sizes[0] == pytest.approx(np.median(a, axis=0) @ [1, 1, 0.5])
    assert result.low[0] < ratio < result.high[0]
    assert 0.05 < result.high[0] - result.low[0] < 0.6
    again = compare_steps(one, two)
    assert (result.low[0], result.high[0]) == (again.low[0], again.high[0])


def test_ties_and_constants_are_no_evidence() -> None:
    constant = RowSamples(np.full((8, 1), 7.0), np.ones((1, 1)))
    result = compare_steps(constant, constant)
    assert (result.p[0], result.above[0], result.low[0], result.high[0]) == (1, 0.5, 1, 1)
    nothing = RowSamples(np.zeros((8, 1)), np.ones((1, 1)))
    result = compare_steps(nothing, constant)
    assert result.p[0] < 0.01
    assert np.isnan(result.low[0])
    apart = compare_steps(RowSamples(np.full((8, 1), 6.0), np.ones((1, 1))), constant)
    assert apart.p[0] == pytest.approx(stats.mannwhitneyu([7.0] * 8, [6.0] * 8, method="asymptotic").pvalue)


def test_facts_in_which_runs_differ() -> None:
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


QUIET = {"readings_us": [100.0, 101.0, 100.0], "spread": 0.01, "steady": True, "waited": 0.0}


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({}, {}, []),
        ({"gauge": QUIET}, {"gauge": QUIET}, []),
        ({}, {"threads": 2}, ["the runs were measured under different conditions: threads"]),
        ({}, {"onnxruntime": "1.0"}, ["the runs were measured under different conditions: onnxruntime"]),
        ({}, {"provider": "cuda"}, ["the runs were measured under different conditions: provider"]),
        ({}, {"optimization": "basic"}, ["the runs were measured under different conditions: optimization"]),
        ({}, {"cpu": "two"}, ["the runs were measured under different conditions: machine"]),
        ({}, {"graph_sha256": "1"}, []),  # which is what one compares
        ({}, {"preset": "paper", "threads": 2}, ["graph and threads differ: no difference in time can be put down"]),
        ({"gauge": {**QUIET, "steady": False, "spread": 0.3}}, {}, ["in A the machine changed speed: a loop of fixed"]),
        ({}, {"gauge": {**QUIET, "waited": 0.5}}, ["in B other processes ran: its threads waited for a core 50%"]),
        (
            {"gauge": QUIET},
            {"gauge": {**QUIET, "readings_us": [130.0]}},
            ["the machine was slower during B: a loop of fixed arithmetic took 30% longer there"],
        ),
        (
            {"gauge": {**QUIET, "readings_us": [150.0]}},
            {"gauge": QUIET},
            ["the machine was slower during A: a loop of fixed arithmetic took 50% longer there"],
        ),
        (
            {"gauge": QUIET},
            {"gauge": {**QUIET, "readings_us": [900.0]}, "cpu": "two"},
            ["the runs were measured under different conditions: machine"],
        ),
    ],
)
def test_what_makes_two_runs_hard_to_compare_is_said(a: dict[str, Any], b: dict[str, Any], said: list[str]) -> None:
    warnings = compare(two_layers(1000, 500, **a), two_layers(1000, 500, **b), []).warnings
    assert len(warnings) == len(said)
    assert all(line.startswith(start) for line, start in zip(warnings, said, strict=True)), warnings


def test_the_unprofiled_step_decides_whether_a_run_is_slower_than_allowed() -> None:
    def with_control(us: float, steps: int = 8) -> Any:
        a = two_layers(1000, 500, control=1000.0 + np.arange(steps))
        return compare(a, two_layers(1000, 500, control=us + np.arange(steps)), [])

    assert worse_than(with_control(1200), 0.1)[0] == "yes"
    assert worse_than(with_control(1050), 0.1)[0] == "no"
    assert worse_than(with_control(900), 0.0)[0] == "no"
    assert worse_than(with_control(1000), 0.0)[0] == "no"
    answer, reason = worse_than(with_control(1200, steps=3), 0.1)
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
    content = compare(a, b).as_json()
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text) == content
    assert content["schema"] == "fathom-onnx/compare/1"
    (row,) = [row for row in content["by_layer"] if row["name"] == "conv"]
    assert (row["a_us"], row["b_us"], row["ratio"], row["low"], row["verdict"]) == (0, 9, None, None, "slower")
    assert content["totals"]["outside"]["verdict"] == "same"


def test_a_drifting_run_is_reported(tmp_path: Path) -> None:
    still = two_layers(1000, 500)
    slowing = hand_run([Executed("f", 1000 + 100 * np.arange(20), {FC: 1.0})], outside=[1] * 20)
    comparison = compare(slowing, still, [])
    # the trend of the layers above is 40 of 1530 microseconds, too little to be called one
    assert comparison.drifts == (slowing.step_drift, 0)
    assert (slowing.step_drift or 0) > 0.5
    slowing.save(tmp_path / "a")
    still.save(tmp_path / "b")
    output = call(tmp_path / "a", tmp_path / "b").stdout
    assert f"warning: A drifts: its step takes {slowing.step_drift:+.0%} at the end" in output
    assert "B drifts" not in output


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


@settings(max_examples=25)
@given(runs(), runs())
def test_the_rows_explain_the_difference_of_the_totals(a: Run, b: Run) -> None:
    comparison = compare(a, b)
    whole = b.node_time_us - a.node_time_us
    for rows in comparison.tables.values():
        assert math.fsum(row.difference_us for row in rows) == pytest.approx(whole, rel=1e-9, abs=1e-9)
        assert sum(row.a_us or 0 for row in rows) == pytest.approx(a.node_time_us, rel=1e-9, abs=1e-9)
        assert sum(row.kind == "charged" for row in rows) <= 1
    totals = comparison.totals
    assert totals["nodes"].difference_us == pytest.approx(whole, rel=1e-9, abs=1e-9)
    outside = totals["outside"].difference_us
    assert totals["run"].difference_us == pytest.approx(whole + outside, rel=1e-9, abs=1e-9)
    assert totals["run"].b_us == pytest.approx(b.run_time_us)
    assert (totals["control"].a_us, totals["step"].a_us) == (a.control_us, a.step_us)
    json.dumps(comparison.as_json(), allow_nan=False)


@settings(max_examples=15)
@given(runs())
def test_a_run_is_the_same_as_itself(run: Run) -> None:
    comparison = compare(run, run)
    for row in [row for rows in comparison.tables.values() for row in rows]:
        assert row.difference_us == 0
        assert row.verdict in ("same", "undecided")
        assert (row.verdict == "undecided") == (row.steps_needed is not None)


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_promised() -> None:
    """Pairs of runs without any difference: one in twenty may have a row called slower or faster."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(60):
        pair = [
            hand_run(
                [Executed(f"n{i}", rng.integers(800, 1200, 10), {f"forward/l{i}/Mul": 1.0}) for i in range(12)],
                outside=rng.integers(10, 20, 10),
            )
            for _ in range(2)
        ]
        rows = compare(*pair, ["layer"], threshold=0).tables["layer"]
        alarms += any(row.verdict in ("slower", "faster") for row in rows)
    # P(more than 8 of 60) is below 1 percent at 5 percent each
    assert alarms <= 8


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *(str(a) for a in arguments)])


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    two_layers(1000, 500, control=1000.0 + EIGHT).save(tmp_path / "a")
    two_layers(2000, 500, control=1200.0 + EIGHT, threads=2, cpu="two").save(tmp_path / "b")
    return tmp_path / "a", tmp_path / "b"


def test_the_command_says_what_differs_and_what_changed(saved: tuple[Path, Path]) -> None:
    result = call(*saved, "--by", "layer", "--by", "node", "--top", 2)
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0] == f"A: small on cpu, 1 threads, onnxruntime 1.31.1 ({saved[0]})"
    assert "warning: threads and machine differ: no difference in time can be put down to one of them alone" in lines
    cells = {tuple(line.split()[:3]): line for line in lines}
    assert cells["threads", "threads", "1"].split()[-1] == "2"
    assert [line.split()[0] for line in lines if line.endswith("slower")][-2:] == [CONV, RELU]
    (conv,) = [line for line in lines if line.startswith("conv ")]
    assert "760.5 us" in conv
    assert "1.51 ms" in conv
    assert "+750.0 us" in conv
    assert "1.99" in conv
    rest = {" ".join(line.split()) for line in lines if line.startswith("1 more")}
    assert rest == {"1 more 503.5 us 503.5 us +0.0 us"}
    same = call(saved[0], saved[0])
    assert "differ in nothing that the manifests tell" in same.stdout
    assert "By class" in same.stdout
    assert "By node" not in same.stdout


def test_the_command_as_json(saved: tuple[Path, Path]) -> None:
    result = call(*saved, "--json", "--threshold", 10)
    content = json.loads(result.stdout)
    expected = compare(Run.load(saved[0]), Run.load(saved[1]), ["phase", "class", "op", "layer"], 0.1).as_json()
    assert content == {**json.loads(json.dumps(expected)), "fail_if_slower": None}
    assert content["causes"] == ["threads", "machine"]
    assert [line.partition(":")[0] for line in content["warnings"]] == ["threads and machine differ"]
    assert "by_node" not in content


def test_the_command_as_a_gate(saved: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = saved
    # 1203.5 of 1003.5 us: 19.9 percent
    result = call(a, b, "--fail-if-slower", 15)
    assert result.exit_code == 1
    assert "failed: slower than allowed: the unprofiled step of B takes 19.9% more time than A's" in result.stderr
    assert call(a, b, "--fail-if-slower", 25).exit_code == 0
    assert call(b, a, "--fail-if-slower", 0).exit_code == 0
    result = call(a, b, "--fail-if-slower", 15, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["fail_if_slower"]["slower"] == "yes"
    for name, us in (("c", 1000), ("d", 2000)):
        two_layers(us, 500, control=[us, us + 1.0, us + 2.0]).save(tmp_path / name)
    result = call(tmp_path / "c", tmp_path / "d", "--fail-if-slower", 15)
    assert result.exit_code == 1
    assert "failed: not known whether it is slower than allowed" in result.stderr
    assert "5 steps in each run are needed to tell" in result.stderr


def test_the_command_with_bad_input(saved: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = saved
    result = call(a, tmp_path / "nowhere")
    assert (result.exit_code, "is not a run folder" in result.stderr) == (6, True)
    assert call(a).exit_code == 2
    assert call(a, b, "--by", "colour").exit_code == 2
    assert call(a, b, "--threshold", 100).exit_code == 2
    manifest = json.loads((b / "manifest.json").read_text())
    (b / "manifest.json").write_text(json.dumps({**manifest, "schema": "fathom-onnx/run/1"}))
    result = call(a, b)
    assert (result.exit_code, "has schema 'fathom-onnx/run/1'" in result.stderr) == (6, True)


def test_two_profiles_are_compared(tmp_path: Path) -> None:
    profiled = [
        profile(cnn(), threads=1, warmup=1, steps=4, optimization=level, folder=tmp_path / level)
        for level in ("all", "basic")
    ]
    comparison = compare(*(Run.load(tmp_path / level) for level in ("all", "basic")))
    assert comparison.causes == ("optimization",)
    for name, key in (("run", "run_time_us"), ("nodes", "node_time_us"), ("outside", "outside_us")):
        row = comparison.totals[name]
        assert (row.a_us, row.b_us) == pytest.approx([run.summary()[key] for run in profiled])
    for rows in comparison.tables.values():
        assert sum(row.difference_us for row in rows) == pytest.approx(comparison.totals["nodes"].difference_us)
    assert {row.name for row in comparison.tables["layer"]} >= {"c1", "c2", "c3", "fc", "pool"}


@pytest.mark.parametrize(("command", "option"), [(compare_command, "groupings"), (roofline_command, "by")])
def test_the_commands_offer_every_grouping(command: click.Command, option: str) -> None:
    (parameter,) = [parameter for parameter in command.params if parameter.name == option]
    assert isinstance(parameter.type, click.Choice)
    assert sorted(parameter.type.choices) == sorted(GROUPINGS)
