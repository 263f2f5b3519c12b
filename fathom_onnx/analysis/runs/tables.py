"""The tables of a run: executed nodes, their attribution to original nodes, and steps.

Times are microseconds. Rows of the node table and columns of the samples are in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.graph.labels import Label
from fathom_onnx.runtime.traces.steps import StepTimes

from .executed import display_name, main_labels, numbers_by_name
from .steps import Floor, node_statistics

__all__ = [
    "ATTRIBUTION_COLUMNS",
    "GROUP_COLUMNS",
    "NODE_COLUMNS",
    "ORIGINAL_COLUMNS",
    "STEP_COLUMNS",
    "attribution_table",
    "node_table",
    "rows_in_order",
    "step_table",
]

NODE_COLUMNS = (
    "index",
    "name",
    "op_type",
    "provider",
    "kind",
    "originals",
    "phase",
    "layer",
    "op",
    "op_class",
    "split",
    "reason",
    "median_us",
    "q1_us",
    "q3_us",
    "mean_us",
    "calls",
    "cv",
    "drift",
    "below_floor",
)
"""Columns of ``nodes.csv``: a row an executed node."""

ATTRIBUTION_COLUMNS = ("executed", "original", "kind", "weight", "us", "phase", "layer", "op", "op_class")
"""Columns of ``attribution.csv``: a row an executed node and original node that it stands for."""

STEP_COLUMNS = ("step", "run_us", "node_us", "outside_us", "wall_us")
"""Columns of ``steps.csv``: a row a counted step."""

ORIGINAL_COLUMNS = (
    "name",
    "op_type",
    "phase",
    "layer",
    "op",
    "op_class",
    "us",
    "macs",
    "flops",
    "bytes_read",
    "bytes_written",
    "parameters",
    "state",
)
"""Columns of ``originals.csv``: a row an original node."""

GROUP_COLUMNS = ("name", "us", "share", "nodes")
"""Columns of a sum by phase, class, op or layer."""


def _label_columns(label: Label | None) -> dict[str, str]:
    if label is None:
        return {"phase": "", "layer": "", "op": "", "op_class": ""}
    return {"phase": label.phase, "layer": label.layer, "op": label.op, "op_class": label.op_class}


def rows_in_order(attribution: Attribution, times: StepTimes) -> list[tuple[int, int | None]]:
    """The rows of a run's node table: (column of the times, number of the executed node), in the model's order.

    A node of the model that never ran (in a branch not taken) has no row. A node that is in the trace and not in the
    model was inserted when the session was built: its number is None and its row comes last.
    """
    numbers = numbers_by_name(attribution)
    end = len(numbers)
    rows = [(column, numbers.get(name)) for column, name in enumerate(times.names)]
    return sorted(rows, key=lambda row: (end if row[1] is None else row[1], row[0]))


def node_table(
    attribution: Attribution,
    times: StepTimes,
    rows: Sequence[tuple[int, int | None]],
    labels: Sequence[Label],
    floor: Floor | None,
) -> pd.DataFrame:
    """One row per executed node (:data:`NODE_COLUMNS`).

    Args:
        attribution: The attribution of the executed nodes.
        times: Times of the counted steps.
        rows: From :func:`rows_in_order`.
        labels: Labels of the original nodes.
        floor: The profiler's cost per node execution; None where unknown: then no node is marked as below it.
    """
    main = main_labels(attribution, labels)
    records: list[dict[str, Any]] = []
    for row, (column, index) in enumerate(rows):
        node = attribution.nodes[index] if index is not None else None
        records.append(
            {
                "index": row,
                "name": display_name(attribution.executed[index]) if index is not None else times.names[column],
                "op_type": times.op_types[column],
                "provider": times.providers[column],
                "kind": node.kind if node else "unattributed",
                "originals": tuple(labels[s.original].name for s in node.shares) if node else (),
                **_label_columns(main[index] if index is not None else None),
                "split": bool(node and node.split),
                "reason": node.reason if node else "inserted when the session was built",
            }
        )
    columns = [column for column, _ in rows]
    table = pd.DataFrame(records, columns=list(NODE_COLUMNS[: NODE_COLUMNS.index("median_us")]))
    statistics = node_statistics(times.self_us[:, columns])
    statistics["calls"] = np.median(times.calls[:, columns], axis=0)
    us_per_call = statistics["median_us"] / statistics["calls"].clip(lower=1)
    statistics["below_floor"] = us_per_call < floor.us if floor else False
    return pd.concat([table, statistics], axis=1)[list(NODE_COLUMNS)]


def attribution_table(
    attribution: Attribution,
    median_us: npt.NDArray[np.float64],
    rows: Sequence[tuple[int, int | None]],
    labels: Sequence[Label],
) -> pd.DataFrame:
    """One row per executed node and original node that it is attributed or charged to."""
    records = [
        {
            "executed": row,
            "original": labels[share.original].name,
            "kind": attribution.nodes[index].kind,
            "weight": share.weight,
            "us": float(median_us[row]) * share.weight,
            **_label_columns(labels[share.original]),
        }
        for row, (_, index) in enumerate(rows)
        if index is not None
        for share in attribution.nodes[index].shares
    ]
    return pd.DataFrame(records, columns=list(ATTRIBUTION_COLUMNS))


def step_table(times: StepTimes, wall_us: Sequence[float]) -> pd.DataFrame:
    """One row per counted step (:data:`STEP_COLUMNS`)."""
    return pd.DataFrame(
        {
            "step": np.arange(len(times.run_us)),
            "run_us": times.run_us,
            "node_us": times.node_us,
            "outside_us": times.outside_us,
            "wall_us": np.asarray(wall_us, float),
        },
        columns=list(STEP_COLUMNS),
    )
