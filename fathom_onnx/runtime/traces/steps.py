"""Times of the profiled steps, by executed node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fathom_onnx.errors import RunError

from .node_runs import Kind, NodeRuns
from .runs import StepRun

__all__ = ["Microseconds", "StepTimes", "step_times"]

Microseconds = npt.NDArray[np.int64] | npt.NDArray[np.float64]
"""Whole microseconds from onnxruntime's trace; with decimals where a device told nanoseconds."""


@dataclass(frozen=True)
class StepTimes:
    """Times of the profiled steps, microseconds: whole ones, but for times on a device.

    Attributes:
        names: Executed nodes, in the order of their first execution.
        op_types: Their op types.
        providers: The providers that ran them (several are joined by a comma).
        self_us: Exclusive time, [steps, nodes]; on a device, the time of what a node launched.
        calls: Executions, [steps, nodes].
        run_us: Time of the session's run, [steps]; on a device, from the step's first work there to its last.
    """

    names: tuple[str, ...]
    op_types: tuple[str, ...]
    providers: tuple[str, ...]
    self_us: Microseconds
    calls: npt.NDArray[np.int64]
    run_us: Microseconds

    @property
    def node_us(self) -> Microseconds:
        """Exclusive time of all nodes, [steps]."""
        total: Microseconds = self.self_us.sum(axis=1)
        return total

    @property
    def outside_us(self) -> Microseconds:
        """What each run took beyond its nodes, [steps]; ``run_us = node_us + outside_us``, exactly in whole ones.

        On a device it is below 0 where several streams were at work at once.
        """
        left: Microseconds = self.run_us - self.node_us
        return left

    def without(self, steps: Iterable[int]) -> StepTimes:
        """The times without some steps (their places), and without the nodes that ran in those alone."""
        kept = np.setdiff1d(np.arange(len(self.run_us)), np.fromiter(steps, np.int64))
        ran = np.flatnonzero(self.calls[kept].any(axis=0))
        return replace(
            self,
            names=tuple(self.names[i] for i in ran),
            op_types=tuple(self.op_types[i] for i in ran),
            providers=tuple(self.providers[i] for i in ran),
            self_us=self.self_us[np.ix_(kept, ran)],
            calls=self.calls[np.ix_(kept, ran)],
            run_us=self.run_us[kept],
        )


class _Columns:
    """The columns of the times: a node each, in the order of first execution."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.op_types: list[str] = []
        self.providers: list[set[str]] = []
        self._kinds: Sequence[Kind] = ()
        self._of_kind = np.empty(0, np.int64)

    def of(self, nodes: NodeRuns) -> npt.NDArray[np.int64]:
        """The column of each execution; nodes that ran for the first time get new ones."""
        if nodes.kinds is not self._kinds:
            self._kinds, self._of_kind = nodes.kinds, np.empty(0, np.int64)
        added = len(nodes.kinds) - len(self._of_kind)
        self._of_kind = np.append(self._of_kind, np.full(added, -1))
        which = np.array(nodes.which, np.int64)
        for place in dict.fromkeys(which[self._of_kind[which] < 0].tolist()):
            name, op_type, provider = nodes.kinds[place]
            column = self.names.setdefault(name, len(self.names))
            if column == len(self.op_types):
                self.op_types.append(op_type)
                self.providers.append(set())
            self.providers[column].add(provider)
            self._of_kind[place] = column
        return self._of_kind[which]


def step_times(runs: Iterable[StepRun]) -> StepTimes:
    """Times by step and node.

    Raises:
        RunError: There is no run.
    """
    columns = _Columns()
    rows: list[npt.NDArray[np.int64]] = []
    run_us: list[int] = []
    for run in runs:
        nodes = NodeRuns.of(run.nodes)
        places = columns.of(nodes)
        # kept as numbers, not as a dict: a long profile has a million of them
        row = np.zeros((2, len(columns.names)), np.int64)
        # sums of floating-point numbers, which are exact up to 2 ** 53
        row[0] = np.bincount(places, np.array(nodes.self_us, float), len(columns.names))
        row[1] = np.bincount(places, minlength=len(columns.names))
        rows.append(row)
        run_us.append(run.run_us)
    if not rows:
        raise RunError("the trace holds no run", "profile at least one step")
    padded = np.zeros((len(rows), 2, len(columns.names)), np.int64)
    for place, row in enumerate(rows):
        padded[place, :, : row.shape[1]] = row
    return StepTimes(
        names=tuple(columns.names),
        op_types=tuple(columns.op_types),
        providers=tuple(",".join(sorted(names)) for names in columns.providers),
        self_us=padded[:, 0],
        calls=padded[:, 1],
        run_us=np.array(run_us, np.int64),
    )
