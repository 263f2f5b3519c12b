"""Rounds of a framework's own run pooled into one: medians over all steps, exactly, and each round to be told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.runs.native_run import NativeRun
from fathom_onnx.analysis.runs.pooled import pool_native_runs, pooled_gauge
from fathom_onnx.analysis.similarity.op_mix import native_op_mix
from fathom_onnx.errors import RunError


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


def test_a_machine_may_be_steady_in_every_round_and_slower_in_the_last() -> None:
    gauges = [{"readings_us": [us, us * 1.02], "spread": 0.02, "steady": True} for us in (100.0, 200.0, 300.0)]
    found = pooled_gauge(gauges)
    assert found is not None
    assert (found["steady"], found["spread"], found["between_rounds"]) == (True, 0.02, pytest.approx(2))
    assert pooled_gauge([]) is None
