"""Rounds of a framework's own run as one run: samples joined, medians over the steps of all rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fathom_onnx.errors import RunError

from ..native_run import NativeRun
from .rounds import pooled_facts

__all__ = ["pool_native_runs"]

_IDENTITY = ("op", "op_class", "framework_op", "phase", "layer", "split")
_LISTS = ("control_steps_us", "comparable_steps_us")


def pool_native_runs(runs: Sequence[NativeRun]) -> NativeRun:
    """One native run with the steps of several rounds, in their order.

    An operation that a round does not have counts as zero in its steps.

    Args:
        runs: Runs of one step with the same settings.

    Raises:
        RunError: There is none.
    """
    if not runs:
        raise RunError("there is no round to pool")
    keys = [[tuple(row) for row in run.ops[list(_IDENTITY)].itertuples(index=False)] for run in runs]
    order = list(dict.fromkeys(key for of_run in keys for key in of_run))
    parts, calls = [], []
    for run, of_run in zip(runs, keys, strict=True):
        places = [order.index(key) for key in of_run]
        samples = np.zeros((len(run.samples), len(order)))
        samples[:, places] = run.samples
        parts.append(samples)
        called = np.zeros(len(order))
        called[places] = run.ops["calls"]
        calls.append(called)
    samples = np.concatenate(parts)
    ops = pd.DataFrame(order, columns=list(_IDENTITY))
    ops["us"], ops["calls"] = np.median(samples, axis=0), np.median(calls, axis=0)
    each = [{"control_us": run.control_us, "step_us": run.step_us, "op_time_us": run.op_time_us} for run in runs]
    return NativeRun(
        dict(pooled_facts([run.manifest for run in runs], _LISTS, each)),
        ops[list(runs[0].ops.columns)],
        samples,
        np.concatenate([run.run_us for run in runs]),
        np.concatenate([run.wall_us for run in runs]),
    )
