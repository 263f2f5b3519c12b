"""Rounds pooled into one run: medians over all steps, exactly, and each round still to be told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.runs.kernels import KERNEL_COLUMNS
from fathom_onnx.analysis.runs.native_run import NativeRun
from fathom_onnx.analysis.runs.pooled import pool_native_runs, pool_runs, round_sizes
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.analysis.similarity.op_mix import native_op_mix, run_op_mix
from fathom_onnx.errors import RunError
from support.runs.small_runs import Executed, hand_run

MUL, ADD = "forward/a/Mul", "forward/b/Add"


def measured(mul: list[int], add: list[int], control: list[float]) -> Run:
    """A run of two nodes, the second half Mul and half Add."""
    nodes = [Executed("m", mul, {MUL: 1.0}), Executed("s", add, {MUL: 0.5, ADD: 0.5})]
    run = hand_run(nodes, [1] * len(mul), control, floor=0.5)
    checks = {"profiled": [{"steps": 0, "settled": None, "reason": "few"}], "control": []}
    gauge = {"readings_us": [control[0], control[0] * 1.02], "spread": 0.02, "steady": True}
    return replace(run, manifest={**run.manifest, "workload": "w", "warmup_check": checks, "gauge": gauge})


ROUNDS = [
    measured([10, 20, 30], [2, 4, 6], [100.0, 110.0]),
    measured([40, 50], [8, 10], [200.0]),
    measured([60, 70], [12, 14], [300.0, 310.0]),
]


def test_times_are_the_medians_over_the_steps_of_all_rounds() -> None:
    run = pool_runs(ROUNDS)
    assert run.nodes["median_us"].tolist() == [40, 8]
    assert run.attribution.set_index(["executed", "original"])["us"].to_dict() == {
        (0, MUL): 40,
        (1, MUL): 4,
        (1, ADD): 4,
    }
    assert run.originals.set_index("name")["us"].to_dict() == {MUL: 44, ADD: 4}
    assert run.control_us == 200
    assert run.steps["step"].tolist() == list(range(7))
    assert (run.manifest["steps"], len(run.samples), run.node_time_us) == (7, 7, 48)
    assert len(run.manifest["warmup_check"]["profiled"]) == 3


def test_each_round_can_still_be_told_apart() -> None:
    run = pool_runs(ROUNDS)
    assert round_sizes(run.manifest) == (3, 2, 2)
    said = run.summary()["rounds"]
    assert [r["control_us"] for r in said] == [105, 200, 305]
    assert [r["node_time_us"] for r in said] == [24, 54, 78]
    mix = run_op_mix(run)
    assert [table["Mul"].tolist() for table in mix.in_rounds("op")] == [[11, 22, 33], [44, 55], [66, 77]]
    # the machine was steady within every round, and three times as slow in the last one
    assert run.manifest["gauge"]["steady"] is True
    assert run.manifest["gauge"]["spread"] == 0.02
    assert run.manifest["gauge"]["between_rounds"] == pytest.approx(2)


def test_one_round_is_the_run_itself() -> None:
    run = pool_runs(ROUNDS[:1])
    for name in ("attribution", "steps", "originals"):
        pd.testing.assert_frame_equal(getattr(run, name), getattr(ROUNDS[0], name), check_dtype=False)
    assert run.nodes["median_us"].tolist() == ROUNDS[0].nodes["median_us"].tolist()


def test_a_pooled_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = pool_runs(ROUNDS)
    run.save(tmp_path)
    assert Run.load(tmp_path).summary() == run.summary()


def test_nodes_that_a_session_names_anew_are_told_by_what_they_stand_for() -> None:
    """Two changes of layout, whose names onnxruntime deals out differently in the second session, in another order."""

    def session(rows: dict[str, tuple[int, str]]) -> Run:
        run = hand_run([Executed(name, [us], {stands_for: 1.0}) for name, (us, stands_for) in rows.items()], [1])
        return replace(run, nodes=run.nodes.assign(op_type=["ReorderOutput"] * 2 + ["Mul"]))

    first = session({"r_1": (10, MUL), "r_2": (20, ADD), "m": (40, MUL)})
    second = session({"r_2": (14, MUL), "r_1": (26, ADD), "m": (44, MUL)})
    turned = session({"r_2": (22, ADD), "r_1": (18, MUL), "m": (42, MUL)})
    assert pool_runs([first, second]).nodes["median_us"].tolist() == [12, 23, 42]
    assert pool_runs([first, turned]).nodes["median_us"].tolist() == [14, 21, 41]
    assert pool_runs([first, turned]).nodes["name"].tolist() == ["r_1", "r_2", "m"]


def test_rounds_that_ran_other_nodes_are_refused() -> None:
    other = hand_run([Executed("m", [10], {MUL: 1.0})], [1])
    with pytest.raises(RunError, match="executed different nodes"):
        pool_runs([ROUNDS[0], other])
    with pytest.raises(RunError, match="no round"):
        pool_runs([])


def test_kernels_have_the_medians_of_the_rounds() -> None:
    def with_kernels(run: Run, us: float) -> Run:
        rows = [
            dict.fromkeys(KERNEL_COLUMNS, "x") | {"executed": 0, "kernel": "gemm", "calls": 2, "us": us, "gap_us": 1.0},
            dict.fromkeys(KERNEL_COLUMNS, "x")
            | {"executed": None, "kernel": "copy", "calls": 1, "us": 5.0, "gap_us": 0.0},
        ]
        kernels = pd.DataFrame(rows).astype({"executed": "Int64"})
        return replace(run, kernels=kernels, manifest={**run.manifest, "device_time": {"busy_us": us, "source": "s"}})

    run = pool_runs([with_kernels(r, us) for r, us in zip(ROUNDS, (7.0, 9.0, 30.0), strict=True)])
    assert run.kernels is not None
    assert run.kernels.set_index("kernel")["us"].to_dict() == {"gemm": 9, "copy": 5}
    assert list(run.kernels.columns) == list(KERNEL_COLUMNS)
    assert run.manifest["device_time"] == {"busy_us": 9, "source": "s"}


def native(rows: dict[str, list[float]], control: list[float]) -> NativeRun:
    """A native run of operations of the canonical op Mul, by their names in the framework."""
    samples = np.array(list(rows.values())).T
    ops = pd.DataFrame(
        [("Mul", "A", name, "forward", "fc", False, float(np.median(us)), 2) for name, us in rows.items()],
        columns=["op", "op_class", "framework_op", "phase", "layer", "split", "us", "calls"],
    )
    manifest = {
        **{"workload": "w", "mode": "training", "framework": "torch", "steps": len(samples)},
        **{"control_steps_us": control, "comparable_steps_us": control},
    }
    return NativeRun(manifest, ops, samples, samples.sum(axis=1) + 1, samples.sum(axis=1) + 2)


def test_an_operation_that_a_round_lacks_counts_as_zero_in_its_steps() -> None:
    run = pool_native_runs([native({"mul": [4, 6]}, [10.0]), native({"mul_": [2, 2, 2], "mul": [8, 8, 8]}, [30.0])])
    assert run.ops.set_index("framework_op")["us"].to_dict() == {"mul": 8, "mul_": 2}
    assert run.samples.tolist() == [[4, 0], [6, 0], [8, 2], [8, 2], [8, 2]]
    assert (run.control_us, run.manifest["steps"]) == (20, 5)
    assert [table["Mul"].tolist() for table in native_op_mix(run).in_rounds("op")] == [[4, 6], [10, 10, 10]]
    assert [r["op_time_us"] for r in run.manifest["rounds"]] == [5, 10]
    with pytest.raises(RunError, match="no round"):
        pool_native_runs([])
