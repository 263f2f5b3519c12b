"""The rows of two runs and their times in each step, as tables to be tested.

A row's time is the sum over its nodes of each node's weight times its median. All groupings of a comparison are
computed from the same bootstrap choices of steps: their weights stand side by side in one matrix, and each table is a
slice of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.runs import Grouping, Run
from fathom_onnx.analysis.runs.time_groups import GROUPING_COLUMNS
from fathom_onnx.errors import RunError

from .significance import RowSamples, SignificanceTest, compare_steps
from .verdicts import ComparisonTable, Key, side_by_side

__all__ = ["GroupedTables", "grouped_tables"]

_ACROSS_GRAPHS = ("phase", "layer", "op")
"""Columns that name a node if the graphs differ: one node name may mean different nodes in two graphs."""

_CHARGED, _UNATTRIBUTED = Key("charged", ""), Key("unattributed", "")


@dataclass(frozen=True)
class GroupedTables:
    """The tables of a comparison, before verdicts.

    Attributes:
        groupings: Grouping to its table.
        totals: The table of the totals.
    """

    groupings: dict[Grouping, ComparisonTable]
    totals: ComparisonTable


def grouped_tables(run_a: Run, run_b: Run, groupings: Sequence[Grouping], same_graph: bool) -> GroupedTables:
    """The tables of two runs.

    Args:
        run_a: Run A.
        run_b: Run B.
        groupings: Tables to make, each once.
        same_graph: Whether both runs are of one graph, so that nodes are matched by name.

    Raises:
        RunError: A run's samples do not fit its tables.
    """
    parts, keys = [], []
    for grouping in groupings:
        columns = _ACROSS_GRAPHS if grouping == "node" and not same_graph else (GROUPING_COLUMNS[grouping],)
        parts.append((_parts(run_a, columns), _parts(run_b, columns)))
        keys.append(sorted({*parts[-1][0]["key"], *parts[-1][1]["key"]}))
    sides = [
        _Side.of(run, [*(_weights(run, pair[i], k) for pair, k in zip(parts, keys, strict=True)), _total_weights(run)])
        for i, run in enumerate((run_a, run_b))
    ]
    test = compare_steps(sides[0].samples, sides[1].samples)
    tables: dict[Grouping, ComparisonTable] = {}
    start = 0
    for grouping, pair, row_keys in zip(groupings, parts, keys, strict=True):
        present = np.array([_present(side_parts, row_keys) for side_parts in pair])
        tables[grouping] = _slice(sides, test, start, row_keys, present)
        start += len(row_keys)
    # profiling may cost time in nodes, outside them or in both
    floor = float(np.maximum(*(side.floors[start] for side in sides)))
    inside = _slice(sides, test, start, [Key("total", name) for name in ("run", "nodes", "outside")])
    control_a, control_b = (run.manifest["control_steps_us"] for run in (run_a, run_b))
    # a run that was read from a trace has no unprofiled steps
    control = [_single_row("control", control_a, control_b, 0.0)] if control_a and control_b else []
    totals = side_by_side(
        [
            *control,
            _single_row("step", run_a.steps["wall_us"], run_b.steps["wall_us"], floor),
            replace(inside, floors=np.full(3, floor)),
        ]
    )
    return GroupedTables(tables, totals)


def _parts(run: Run, columns: tuple[str, ...]) -> pd.DataFrame:
    """The rows that each executed node counts towards: ``executed``, ``weight`` and ``key``, the key of the row."""
    table = run.attribution
    names = table[columns[0]].str.cat([table[column] for column in columns[1:]], sep="/")
    keys = [_CHARGED if k == "charged" else Key("attributed", n) for k, n in zip(table["kind"], names, strict=True)]
    unattributed = np.flatnonzero(run.nodes["kind"] == "unattributed")
    return pd.DataFrame(
        {
            "executed": np.append(table["executed"].to_numpy(int), unattributed),
            "weight": np.append(table["weight"].to_numpy(float), np.ones(len(unattributed))),
            "key": [*keys, *[_UNATTRIBUTED] * len(unattributed)],
        }
    )


def _weights(run: Run, parts: pd.DataFrame, keys: Sequence[Key]) -> Any:
    """Weight of each node, and of the time outside nodes, in each row: [nodes + 1, rows], sparse."""
    from scipy import sparse

    column_of = {key: column for column, key in enumerate(keys)}
    positions = (parts["executed"].to_numpy(int), np.array([column_of[key] for key in parts["key"]], int))
    return sparse.coo_array((parts["weight"].to_numpy(float), positions), shape=(len(run.nodes) + 1, len(keys)))


def _present(parts: pd.DataFrame, keys: Sequence[Key]) -> npt.NDArray[np.bool_]:
    """Whether a run has each row."""
    row_keys = set(parts["key"])
    return np.array([key in row_keys for key in keys], bool)


def _total_weights(run: Run) -> Any:
    """Weights of the totals ``run``, ``nodes`` and ``outside``, [nodes + 1, 3], sparse."""
    from scipy import sparse

    in_nodes = np.append(np.ones(len(run.nodes)), 0.0)
    return sparse.coo_array(np.column_stack([np.ones_like(in_nodes), in_nodes, 1 - in_nodes]))


@dataclass(frozen=True)
class _Side:
    """One run: samples of its rows, and the profiler's cost in the nodes of each row (NaN where unknown)."""

    samples: RowSamples
    floors: npt.NDArray[np.float64]

    @classmethod
    def of(cls, run: Run, blocks: Sequence[Any]) -> _Side:
        """Build a side from the weights of all tables, side by side."""
        from scipy import sparse

        if run.samples.shape != (len(run.steps), len(run.nodes)):
            raise RunError("a run's samples do not fit its nodes and steps", "profile again")
        samples = np.column_stack([run.samples, run.steps["outside_us"]]).astype(float)
        weights = sparse.csr_array(sparse.hstack(blocks))
        calls = np.append(run.nodes["calls"].to_numpy(float), 0.0) @ weights
        return cls(RowSamples(samples, weights), calls * (run.floor.us if run.floor else np.nan))


def _slice(
    sides: Sequence[_Side],
    test: SignificanceTest,
    start: int,
    keys: Sequence[Key],
    present: npt.NDArray[np.bool_] | None = None,
) -> ComparisonTable:
    """One of the tables that stand side by side."""
    rows = slice(start, start + len(keys))
    steps = [[len(side.samples.samples)] * len(keys) for side in sides]
    return ComparisonTable(
        keys=keys,
        present=np.ones((2, len(keys)), bool) if present is None else present,
        sizes=np.stack([side.samples.sizes[rows] for side in sides]),
        floors=np.maximum(sides[0].floors[rows], sides[1].floors[rows]),
        steps=np.array(steps, np.int64),
        test=test.rows(rows),
    )


def _single_row(name: str, a: Sequence[float], b: Sequence[float], floor: float) -> ComparisonTable:
    """A table of one total, from its times in the steps of each run."""
    samples_a, samples_b = (RowSamples(np.asarray(times, float)[:, None], np.ones((1, 1))) for times in (a, b))
    return ComparisonTable(
        keys=[Key("total", name)],
        present=np.ones((2, 1), bool),
        sizes=np.stack([samples_a.sizes, samples_b.sizes]),
        floors=np.array([floor]),
        steps=np.array([[len(samples_a.samples)], [len(samples_b.samples)]], np.int64),
        test=compare_steps(samples_a, samples_b),
    )
