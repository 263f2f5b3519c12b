"""Profiles, distances and the findings made of them, on hand-made runs with distances known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.analysis.paper.findings import attribution_finding, distance_finding, outside_finding, overhead_finding
from fathom_onnx.analysis.similarity.similarity import RunLabel, distances, framework_effect, share_table, shares
from fathom_onnx.errors import RunError
from fathom_onnx.vocabulary import OPS
from support.runs.summaries import summary


def test_a_class_profile_has_all_seven_classes_and_sums_to_one() -> None:
    found = shares(summary("w", Conv2D=60, MatMul=20, Add=15, Mul=5), "class")
    assert found.to_dict() == {"A": 0.2, "B": 0.2, "C": 0.0, "D": 0.6, "E": 0.0, "F": 0.0, "G": 0.0}


def test_an_op_profile_has_the_ops_that_occur_in_the_vocabularys_order() -> None:
    found = shares(summary("w", Conv2D=60, MatMul=20, Add=20), "op")
    assert list(found.items()) == [("Add", 0.2), ("MatMul", 0.2), ("Conv2D", 0.6)]


def test_time_outside_the_vocabulary_has_no_part_in_a_profile() -> None:
    with_unknown = summary("w", Conv2D=60, MatMul=20, SomethingElse=1000)
    for level in ("class", "op"):
        assert shares(with_unknown, level).to_dict() == shares(summary("w", Conv2D=60, MatMul=20), level).to_dict()


def test_a_run_without_time_in_any_class_is_named() -> None:
    for level in ("class", "op"):
        with pytest.raises(
            RunError, match=rf"run w inference \(torch\) has no time in any op {level}; profile it again"
        ):
            shares(summary("w", SomethingElse=10), level)


def test_distances_are_cosine_distances() -> None:
    table = share_table([summary("a", Conv2D=1), summary("b", MatMul=5), summary("c", Conv2D=3, MatMul=3)], "class")
    square = distances(table)
    assert list(square.index) == list(square.columns) == [RunLabel(w, "torch", "inference") for w in "abc"]
    half = 1 - 1 / math.sqrt(2)
    np.testing.assert_allclose(square.to_numpy(), [[0, 1, half], [1, 0, half], [half, half, 0]], atol=1e-12)


def test_runs_without_a_common_op_are_one_apart_by_op_and_may_be_none_by_class() -> None:
    pair = [summary("a", Add=1, Mul=1), summary("b", Sub=1, Div=3)]
    assert distances(share_table(pair, "op")).iat[0, 1] == pytest.approx(1.0)
    assert distances(share_table(pair, "class")).iat[0, 1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_runs_have_a_table_of_distances_too(count: int) -> None:
    assert distances(share_table([summary("a", Add=1)][:count], "class")).shape == (count, count)


def test_two_runs_of_one_name_are_refused() -> None:
    with pytest.raises(RunError, match=r"two runs are both a inference \(torch\)"):
        share_table([summary("a", Add=1), summary("a", Add=2)], "class")


@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(OPS)), st.floats(0.01, 1e6), min_size=1, max_size=6),
        min_size=2,
        max_size=5,
    ),
    st.floats(0.001, 1000),
    st.sampled_from(["class", "op"]),
)
@settings(max_examples=40)
def test_distances_are_symmetric_bounded_and_blind_to_total_time(ops: list[dict], factor: float, level: str) -> None:
    runs = [summary(f"w{i}", **held) for i, held in enumerate(ops)]
    slower = [summary(f"w{i}", **{k: v * factor for k, v in held.items()}) for i, held in enumerate(ops)]
    square = distances(share_table(runs, level)).to_numpy()
    np.testing.assert_array_equal(square, square.T)
    assert (square >= 0).all()
    assert (square <= 1).all()
    assert (np.diag(square) == 0).all()
    np.testing.assert_allclose(distances(share_table(slower, level)).to_numpy(), square, atol=1e-9)


# the framework against the workload


def four(torch_conv: float, tensorflow_conv: float) -> list[dict]:
    """A convolutional and a fully connected workload from two frameworks."""
    return [
        summary("conv", "torch", Conv2D=torch_conv, Add=100 - torch_conv),
        summary("conv", "tensorflow", Conv2D=tensorflow_conv, Add=100 - tensorflow_conv),
        summary("full", "torch", MatMul=100),
        summary("full", "tensorflow", MatMul=100),
    ]


def test_twins_that_lie_near_mean_the_framework_matters_less() -> None:
    effect = framework_effect(four(100, 100), "class")
    assert effect.small is True
    assert (effect.hits, effect.runs) == (4, 4)
    assert [p.distance for p in effect.framework_pairs] == [0.0, 0.0]
    assert len(effect.workload_pairs) == 4
    assert all(p.distance == pytest.approx(1.0) for p in effect.workload_pairs)
    assert distance_finding(effect) == (
        "By op class the largest distance between the frameworks of one workload is 0.000 (conv inference: torch and "
        "tensorflow), the smallest between two workloads 1.000 (inference: conv (torch) and full (torch)); "
        "the nearest run is another framework's of the same workload in 4 of 4."
    )


def test_twins_farther_apart_than_workloads_mean_it_matters() -> None:
    runs = [
        summary("a", "torch", Conv2D=100),
        summary("a", "tensorflow", Add=100),
        summary("b", "torch", Conv2D=100),
        summary("b", "tensorflow", Add=100),
    ]
    effect = framework_effect(runs, "class")
    assert effect.small is False
    assert (effect.hits, effect.runs) == (0, 4)
    assert distance_finding(effect).endswith("in 0 of 4.")


def test_a_tie_is_not_a_small_effect() -> None:
    effect = framework_effect(four(0, 100), "class")
    assert effect.framework_pairs[0].distance == pytest.approx(1.0)
    assert effect.small is False


def test_the_pair_says_where_its_runs_differ_most() -> None:
    effect = framework_effect(four(90, 60), "class")
    pair = effect.framework_pairs[0]
    assert (pair.a.framework, pair.b.framework) == ("torch", "tensorflow")
    assert pair.gap.name in ("A", "D")
    assert abs(pair.gap.share_a - pair.gap.share_b) == pytest.approx(0.3)
    dot = 0.9 * 0.6 + 0.1 * 0.4
    assert pair.distance == pytest.approx(1 - dot / (math.hypot(0.9, 0.1) * math.hypot(0.6, 0.4)))


def test_modes_are_not_set_against_each_other() -> None:
    runs = [
        summary("a", "torch", "inference", Conv2D=1),
        summary("a", "tensorflow", "training", Conv2D=1),
        summary("b", "torch", "training", MatMul=1),
    ]
    effect = framework_effect(runs, "class")
    assert effect.framework_pairs == ()
    assert [str(p) for p in effect.workload_pairs] == ["training: a (tensorflow) and b (torch)"]
    assert (effect.hits, effect.runs) == (0, 0)


def test_without_twins_or_rivals_nothing_is_compared() -> None:
    alone = framework_effect([summary("a", "torch", Add=1), summary("b", "torch", MatMul=1)], "op")
    assert alone.small is None
    assert distance_finding(alone) == ""
    one = framework_effect([summary("a", "torch", Add=1), summary("a", "tensorflow", Add=1)], "class")
    assert one.small is None
    assert distance_finding(one) == (
        "By op class the largest distance between the frameworks of one workload is 0.000 "
        "(a inference: torch and tensorflow)."
    )


def test_time_outside_ops_is_set_beside_the_papers_two_percent() -> None:
    runs = [
        summary("a", facts={"outside_us": 4.0, "run_time_us": 1000.0}, Add=1),
        summary("b", facts={"outside_us": 31.0, "run_time_us": 100.0}, Add=1),
        summary("c", Add=1),
    ]
    assert outside_finding(runs) == (
        "Time outside ops is 0.4% to 31.0% of a profiled step (most in b inference (torch)); "
        "it is within the paper's 2% in 1 of 2 runs."
    )
    assert outside_finding(runs[2:]) == ""


def test_what_profiling_adds_is_set_against_the_unprofiled_step() -> None:
    runs = [
        summary("a", facts={"profiling_overhead_us": -1.0, "control_us": 100.0}, Add=1),
        summary("b", facts={"profiling_overhead_us": 30.0, "control_us": 20.0}, Add=1),
    ]
    assert overhead_finding(runs) == (
        "Profiling adds -1.0% to 150.0% to an unprofiled step (most in b inference (torch))."
    )
    assert overhead_finding([summary("c", Add=1)]) == ""


def test_time_that_stands_for_no_op_is_said() -> None:
    none = summary("a", facts={"unattributed_us": 0.0, "node_time_us": 50.0}, Add=1)
    some = summary("b", facts={"unattributed_us": 1.0, "node_time_us": 80.0}, Add=1)
    assert attribution_finding([none]) == "All node time of all 1 runs is attributed to ops."
    assert attribution_finding([none, some]) == (
        "At most 1.2% of a run's node time is attributed to no op (most in b inference (torch))."
    )
    assert attribution_finding([summary("c", Add=1)]) == ""


def test_a_graph_that_is_not_ours_goes_by_its_own_name() -> None:
    foreign = summary("w", Add=1) | {"workload": None, "framework": None, "mode": None, "graph": "bert"}
    assert str(RunLabel.of(foreign)) == "bert inference (file)"
