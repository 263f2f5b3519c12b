"""Hand-made summaries of runs for tests of reports, figures and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.vocabulary import OPS


def rows(us: Mapping[str, float]) -> list[dict[str, Any]]:
    """Rows of a grouping in the form of a run's summary, the longest first."""
    total = sum(us.values())
    ordered = sorted(us.items(), key=lambda item: -item[1])
    return [{"name": k, "us": v, "share": v / total if total else 0.0, "nodes": 1} for k, v in ordered]


def summary(
    workload: str,
    framework: str = "torch",
    mode: str = "inference",
    facts: Mapping[str, Any] | None = None,
    **ops: float,
) -> dict[str, Any]:
    """A summary of a run that spent these microseconds in these ops."""
    classes: dict[str, float] = {}
    for op, us in ops.items():
        name = str(OPS[op].op_class) if op in OPS else "unattributed"
        classes[name] = classes.get(name, 0.0) + us
    total = sum(ops.values())
    return {
        "workload": workload,
        "framework": framework,
        "mode": mode,
        "by_phase": rows({"forward": total}),
        "by_class": rows(classes),
        "by_op": rows(ops),
        "by_layer": rows({"conv1": total / 2, "fc": total / 2}),
        **(facts or {}),
    }


def spent(
    workload: str, framework: str = "torch", mode: str = "inference", steps: Sequence[Mapping[str, float]] = ()
) -> OpMix:
    """A profile of a run whose steps spent these microseconds in these ops."""
    table = pd.DataFrame(list(steps), dtype=float).fillna(0.0)
    return OpMix(RunLabel(workload, framework, mode), table[[op for op in OPS if op in table.columns]])
