"""Two runs set against each other: what got slower, what got faster, and what the difference of the totals is made of.

Rows are phases, classes, ops, layers or nodes, matched by name. A row's time is what it is everywhere in a run, the sum
of its nodes' medians, so that in every table

    time in B - time in A, summed over the rows = node time of B - node time of A

to float rounding. For that, movement that onnxruntime inserted (charged) and time that is unattributed have rows of
their own, and a row that only one run has counts with all its time. ``docs/guide/compare.md`` describes the JSON form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.errors import RunError, UsageError

from .run_facts import Difference, causes, differences
from .significance import ALPHA, CONFIDENCE, Evidence, Steps, evidence, steps_to_separate
from .verdicts import Key, Row, Table, judged, side_by_side

__all__ = ["LEVELS", "SCHEMA", "TOTALS", "Comparison", "Level", "compare", "worse_than"]

SCHEMA = "fathom-onnx/compare/1"

Level = Literal["phase", "class", "op", "layer", "node"]

LEVELS: dict[Level, tuple[str, ...]] = {
    "phase": ("phase",),
    "class": ("op_class",),
    "op": ("op",),
    "layer": ("layer",),
    "node": ("original",),
}
"""Level to the columns of the attribution table that name its rows."""

_ACROSS_GRAPHS = ("phase", "layer", "op")
"""What stands for a node where the graphs differ: one name may mean different nodes in two graphs."""

TOTALS = {
    "control": "step, unprofiled",
    "step": "step, profiled",
    "run": "run inside onnxruntime",
    "nodes": "in nodes",
    "outside": "outside nodes",
}
"""Key of a total to what it is; ``run`` is ``nodes`` and ``outside`` together."""

_CHARGED, _UNATTRIBUTED = Key("charged", ""), Key("unattributed", "")


@dataclass(frozen=True)
class Comparison:
    """Two runs compared.

    Attributes:
        a: Facts of the first run.
        b: Facts of the second.
        differences: The facts in which they differ.
        steps: Profiled steps that count, of A and of B.
        control_steps: Unprofiled steps of A and of B.
        drifts: Relative change of the step's time over A and over B, 0 without a trend, None where steps are too few.
            The test takes the steps of a run for repetitions of one thing, which those of a drifting run are not.
        threshold: Smallest change of a row that is called one, as a share.
        totals: A row for each of :data:`TOTALS`.
        tables: Level to its rows, the largest difference first.
        nodes_by_name: Whether both runs are of one graph, so that nodes are matched by name.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    differences: tuple[Difference, ...]
    steps: tuple[int, int]
    control_steps: tuple[int, int]
    drifts: tuple[float | None, float | None]
    threshold: float
    totals: dict[str, Row]
    tables: dict[Level, tuple[Row, ...]]
    nodes_by_name: bool

    @property
    def causes(self) -> tuple[str, ...]:
        """The kinds of facts that differ and change times; two or more cannot be told apart."""
        return causes(self.differences)

    def json(self) -> dict[str, Any]:
        """The comparison as one JSON object of schema :data:`SCHEMA`."""
        return {
            "schema": SCHEMA,
            "a": self.a,
            "b": self.b,
            "differences": [asdict(difference) for difference in self.differences],
            "causes": list(self.causes),
            "steps": list(self.steps),
            "control_steps": list(self.control_steps),
            "drifts": list(self.drifts),
            "threshold": self.threshold,
            "alpha": ALPHA,
            "confidence": CONFIDENCE,
            "nodes_by_name": self.nodes_by_name,
            "totals": {key: asdict(row) for key, row in self.totals.items()},
            **{f"by_{level}": [asdict(row) for row in rows] for level, rows in self.tables.items()},
        }


def compare(a: Run, b: Run, levels: Iterable[Level] = tuple(LEVELS), threshold: float = 0.05) -> Comparison:
    """Compare two runs.

    Args:
        a: The run to compare with.
        b: The run that may be slower or faster.
        levels: Tables to make.
        threshold: Smallest change of a row that is called one, as a share of A's time; 0.05 is 5 percent.

    Raises:
        UsageError: The threshold is not a share.
        RunError: A run's samples do not fit its tables.
    """
    if not 0 <= threshold < 1:
        raise UsageError(f"a threshold cannot be {threshold:.0%}", "give 0 to 99 percent")
    same_graph = a.manifest["graph_sha256"] == b.manifest["graph_sha256"]
    chosen = tuple(dict.fromkeys(levels))
    parts, keys = [], []
    for level in chosen:
        columns = _ACROSS_GRAPHS if level == "node" and not same_graph else LEVELS[level]
        parts.append((_parts(a, columns), _parts(b, columns)))
        keys.append(sorted({*parts[-1][0]["key"], *parts[-1][1]["key"]}))
    # all tables side by side, so that one choice of steps serves them all
    sides = [
        _Side.of(run, [*(_weights(run, pair[i], k) for pair, k in zip(parts, keys, strict=True)), _inside(run)])
        for i, run in enumerate((a, b))
    ]
    found = evidence(sides[0].steps, sides[1].steps)
    tables: dict[Level, tuple[Row, ...]] = {}
    begin = 0
    for level, pair, names in zip(chosen, parts, keys, strict=True):
        present = np.array([_has(side, names) for side in pair])
        rows = judged(_cut(sides, found, begin, names, present), threshold)
        tables[level] = tuple(sorted(rows, key=lambda row: -abs(row.difference_us)))
        begin += len(names)
    # profiling may cost time in nodes, outside them or in both
    floor = float(np.maximum(*(side.floors[begin] for side in sides)))
    inside = _cut(sides, found, begin, [Key("total", name) for name in ("run", "nodes", "outside")])
    totals = side_by_side(
        [
            _alone("control", a.manifest["control_steps_us"], b.manifest["control_steps_us"], 0.0),
            _alone("step", a.steps["wall_us"], b.steps["wall_us"], floor),
            replace(inside, floors=np.full(3, floor)),
        ]
    )
    return Comparison(
        a=_facts(a),
        b=_facts(b),
        differences=differences(a.manifest, b.manifest),
        steps=(len(a.steps), len(b.steps)),
        control_steps=(len(a.manifest["control_steps_us"]), len(b.manifest["control_steps_us"])),
        drifts=(a.step_drift, b.step_drift),
        threshold=threshold,
        totals={row.name: row for row in judged(totals, threshold)},
        tables=tables,
        nodes_by_name=same_graph,
    )


def worse_than(comparison: Comparison, share: float) -> tuple[Literal["no", "yes", "unknown"], str]:
    """Whether the unprofiled step of B is slower than A's by more than a share, and the reason in words.

    Unknown is neither: there are too few steps to tell, or a change of that size may be chance.

    Args:
        comparison: Two runs compared.
        share: Largest change that is accepted; 0.1 is 10 percent.
    """
    row = comparison.totals["control"]
    if row.ratio is None or row.p is None:
        return "unknown", "the unprofiled step of A takes no time"
    way = "more" if row.ratio >= 1 else "less"
    change = f"the unprofiled step of B takes {abs(row.ratio - 1):.1%} {way} time than A's (p = {row.p:.2g})"
    more = row.ratio > 1 + share
    if row.clear or (row.significant and not more):
        return ("yes" if more else "no"), change
    needed = steps_to_separate(len(TOTALS), *comparison.control_steps)
    if needed is not None:
        return "unknown", f"{change}; {needed} steps in each run are needed to tell"
    if more:
        return "unknown", f"{change}, which may be chance; profile more steps"
    return "no", change


def _facts(run: Run) -> dict[str, Any]:
    names = ("graph", "workload", "mode", "framework", "preset", "provider", "threads", "optimization", "onnxruntime")
    return {name: run.manifest.get(name) for name in (*names, "time_utc")}


def _parts(run: Run, columns: tuple[str, ...]) -> pd.DataFrame:
    """What the run's nodes count to: ``executed``, ``weight`` and ``key``, the row."""
    table = run.attribution
    names = table[columns[0]].str.cat([table[column] for column in columns[1:]], sep="/")
    keys = [_CHARGED if k == "charged" else Key("attributed", n) for k, n in zip(table["kind"], names, strict=True)]
    lost = np.flatnonzero(run.nodes["kind"] == "unattributed")
    return pd.DataFrame(
        {
            "executed": np.append(table["executed"].to_numpy(int), lost),
            "weight": np.append(table["weight"].to_numpy(float), np.ones(len(lost))),
            "key": [*keys, *[_UNATTRIBUTED] * len(lost)],
        }
    )


def _weights(run: Run, parts: pd.DataFrame, keys: Sequence[Key]) -> Any:
    """Weight of each node, and of what is outside them, in each row: [nodes + 1, rows], sparse."""
    from scipy import sparse

    place = {key: column for column, key in enumerate(keys)}
    where = (parts["executed"].to_numpy(int), np.array([place[key] for key in parts["key"]], int))
    return sparse.coo_array((parts["weight"].to_numpy(float), where), shape=(len(run.nodes) + 1, len(keys)))


def _has(parts: pd.DataFrame, keys: Sequence[Key]) -> npt.NDArray[np.bool_]:
    """Whether each row has any part."""
    there = set(parts["key"])
    return np.array([key in there for key in keys], bool)


def _inside(run: Run) -> Any:
    """Weights of the totals ``run``, ``nodes`` and ``outside``, [nodes + 1, 3], sparse."""
    from scipy import sparse

    node = np.append(np.ones(len(run.nodes)), 0.0)
    return sparse.coo_array(np.column_stack([np.ones_like(node), node, 1 - node]))


@dataclass(frozen=True)
class _Side:
    """One run: its steps, and what profiling costs the nodes of each row (NaN where the run does not tell)."""

    steps: Steps
    floors: npt.NDArray[np.float64]

    @classmethod
    def of(cls, run: Run, blocks: Sequence[Any]) -> _Side:
        """From the weights of the tables, side by side."""
        from scipy import sparse

        if run.samples.shape != (len(run.steps), len(run.nodes)):
            raise RunError("a run's samples do not fit its nodes and steps", "profile again")
        samples = np.column_stack([run.samples, run.steps["outside_us"]]).astype(float)
        weights = sparse.csr_array(sparse.hstack(blocks))
        calls = np.append(run.nodes["calls"].to_numpy(float), 0.0) @ weights
        return cls(Steps(samples, weights), calls * (run.floor.us if run.floor else np.nan))


def _cut(
    sides: Sequence[_Side],
    found: Evidence,
    begin: int,
    keys: Sequence[Key],
    present: npt.NDArray[np.bool_] | None = None,
) -> Table:
    """One table out of those that stand side by side."""
    here = slice(begin, begin + len(keys))
    steps = [[len(side.steps.samples)] * len(keys) for side in sides]
    return Table(
        keys=keys,
        present=np.ones((2, len(keys)), bool) if present is None else present,
        sizes=np.stack([side.steps.sizes[here] for side in sides]),
        floors=np.maximum(sides[0].floors[here], sides[1].floors[here]),
        steps=np.array(steps, np.int64),
        found=found.rows(here),
    )


def _alone(name: str, a: Sequence[float], b: Sequence[float], floor: float) -> Table:
    """A table of one total, from its times in the steps of each run."""
    one, two = (Steps(np.asarray(times, float)[:, None], np.ones((1, 1))) for times in (a, b))
    return Table(
        keys=[Key("total", name)],
        present=np.ones((2, 1), bool),
        sizes=np.stack([one.sizes, two.sizes]),
        floors=np.array([floor]),
        steps=np.array([[len(one.samples)], [len(two.samples)]], np.int64),
        found=evidence(one, two),
    )
