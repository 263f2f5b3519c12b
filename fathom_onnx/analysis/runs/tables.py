"""The tables of a run: a row an executed node, a row for each that it stands for, a row a step.

Times are microseconds. A node's row is in the place of its column of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.attribution.attribution import Attribution, NodeAttribution
from fathom_onnx.graph.labels import Label
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.trace import StepTimes

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
ATTRIBUTION_COLUMNS = ("executed", "original", "kind", "weight", "us", "phase", "layer", "op", "op_class")
STEP_COLUMNS = ("step", "run_us", "node_us", "outside_us", "wall_us")
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
GROUP_COLUMNS = ("name", "us", "share", "nodes")


def _label_columns(label: Label | None) -> dict[str, str]:
    if label is None:
        return {"phase": "", "layer": "", "op": "", "op_class": ""}
    return {"phase": label.phase, "layer": label.layer, "op": label.op, "op_class": label.op_class}


def rows_in_order(attribution: Attribution, times: StepTimes) -> list[tuple[int, int | None]]:
    """The rows of a run's node table: (column of the times, number of the executed node), in the model's order.

    A node of the model that never ran (a branch not taken) has no row. A node in the trace that the model does not have
    was inserted when the session was built: it has no number and comes last.
    """
    position = {executed_name(entry.index): entry.index for entry in attribution.executed}
    end = len(position)
    found = [(column, position.get(name)) for column, name in enumerate(times.names)]
    return sorted(found, key=lambda row: (end if row[1] is None else row[1], row[0]))


def _main(found: NodeAttribution | None, labels: Sequence[Label]) -> Label | None:
    """The label of the original with the largest part."""
    share = max(found.shares, key=lambda share: share.weight, default=None) if found else None
    return labels[share.original] if share else None


def node_table(
    attribution: Attribution,
    times: StepTimes,
    rows: Sequence[tuple[int, int | None]],
    labels: Sequence[Label],
    floor: Floor | None,
) -> pd.DataFrame:
    """One row an executed node (:data:`NODE_COLUMNS`).

    Args:
        attribution: What each executed node stands for.
        times: Times of the counted steps.
        rows: From :func:`rows_in_order`.
        labels: Labels of the original nodes.
        floor: The profiler's cost of a node; None where it is not known: then no node is marked.
    """
    told: list[dict[str, Any]] = []
    for row, (column, index) in enumerate(rows):
        found = attribution.nodes[index] if index is not None else None
        node = attribution.executed[index].node if index is not None else None
        told.append(
            {
                "index": row,
                "name": (node.name or f"{node.op_type}#{index}") if node is not None else times.names[column],
                "op_type": times.op_types[column],
                "provider": times.providers[column],
                "kind": found.kind if found else "unattributed",
                "originals": tuple(labels[s.original].name for s in found.shares) if found else (),
                **_label_columns(_main(found, labels)),
                "split": bool(found and found.split),
                "reason": found.reason if found else "inserted when the session was built",
            }
        )
    columns = [column for column, _ in rows]
    table = pd.DataFrame(told, columns=list(NODE_COLUMNS[: NODE_COLUMNS.index("median_us")]))
    measured = node_statistics(times.self_us[:, columns])
    measured["calls"] = np.median(times.calls[:, columns], axis=0)
    once = measured["median_us"] / measured["calls"].clip(lower=1)
    measured["below_floor"] = once < floor.us if floor else False
    return pd.concat([table, measured], axis=1)[list(NODE_COLUMNS)]


def attribution_table(
    attribution: Attribution,
    median_us: npt.NDArray[np.float64],
    rows: Sequence[tuple[int, int | None]],
    labels: Sequence[Label],
) -> pd.DataFrame:
    """One row for each executed node and original node that it stands for or is charged to."""
    told = [
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
    return pd.DataFrame(told, columns=list(ATTRIBUTION_COLUMNS))


def step_table(times: StepTimes, wall_us: Sequence[float]) -> pd.DataFrame:
    """One row a counted step (:data:`STEP_COLUMNS`)."""
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
