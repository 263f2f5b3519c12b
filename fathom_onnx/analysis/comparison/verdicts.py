"""The rows of a comparison of two runs and the verdict on each: slower, faster, same, below floor or undecided.

A row is slower or faster if three conditions hold: the difference is clear (significant after the correction for the
rows of the table, with an interval of the ratio that excludes 1), the change is at least the threshold, and it exceeds
the profiler's own cost in the row's nodes. If only the last condition fails, the row is below the floor: the times
differ, but by no more than measuring them costs. A row is the same if its change is smaller than the threshold. It is
undecided if the steps could not have shown a difference, or if a large change may be chance; the row then gives the
number of steps needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .significance import ALPHA, SignificanceTest, steps_to_separate, steps_to_show

__all__ = ["ChangeVerdict", "ComparisonTable", "Key", "Row", "RowKind", "judge_rows", "side_by_side"]

RowKind = Literal["attributed", "charged", "unattributed", "total"]
"""Kind of a row: how its time was attributed, or the total of all rows."""

ChangeVerdict = Literal["slower", "faster", "same", "below floor", "undecided", "only in A", "only in B"]
"""Verdict on the change of a row between two runs."""


class Key(NamedTuple):
    """The identity of a row; ``name`` is empty if there is only one row of its kind."""

    kind: RowKind
    name: str


@dataclass(frozen=True)
class Row:
    """One row of a comparison of run A and run B; times are microseconds.

    Attributes:
        kind: ``attributed``, ``charged``, ``unattributed`` or ``total``.
        name: Name of the phase, class, op, layer, node or total.
        a_us: Time in A; None if A does not have the row.
        b_us: Time in B; None if B does not have the row.
        difference_us: Time in B - time in A; a row that a run does not have counts as 0 there.
        ratio: Time in B / time in A; None if either is missing or A's is zero.
        low: Lower end of the ratio's interval; None where unknown.
        high: Upper end of the ratio's interval.
        p: p-value, corrected for the rows of the table; None for a row that only one run has.
        floor_us: The profiler's own cost in the row's nodes, the larger of the two runs; None where unknown.
        verdict: The verdict.
        steps_needed: For an undecided row, the steps in each run that would decide it; None where unknown or over
            10,000.
    """

    kind: RowKind
    name: str
    a_us: float | None
    b_us: float | None
    difference_us: float
    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    floor_us: float | None
    verdict: ChangeVerdict
    steps_needed: int | None

    @property
    def significant(self) -> bool:
        """Whether the times differ significantly after the correction."""
        return self.p is not None and self.p <= ALPHA

    @property
    def clear(self) -> bool:
        """Whether test and interval both show a difference; without an interval the test alone decides."""
        return self.significant and not (self.low is not None and self.high is not None and self.low <= 1 <= self.high)


@dataclass(frozen=True)
class ComparisonTable:
    """Rows that are tested together, before their verdicts.

    Attributes:
        keys: Key of each row.
        present: Whether A has the row, and whether B has it, [2, rows].
        sizes: Time in A and in B, microseconds, [2, rows].
        floors: The profiler's own cost in the row's nodes, microseconds, NaN where unknown, [rows].
        steps: Number of steps of A and of B, [2, rows].
        test: Significance of each row's difference.
    """

    keys: Sequence[Key]
    present: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.float64]
    floors: npt.NDArray[np.float64]
    steps: npt.NDArray[np.int64]
    test: SignificanceTest


def side_by_side(tables: Sequence[ComparisonTable]) -> ComparisonTable:
    """One table with the rows of several, which are then tested together."""
    tests = [table.test for table in tables]
    return ComparisonTable(
        keys=[key for table in tables for key in table.keys],
        present=np.concatenate([table.present for table in tables], axis=1),
        sizes=np.concatenate([table.sizes for table in tables], axis=1),
        floors=np.concatenate([table.floors for table in tables]),
        steps=np.concatenate([table.steps for table in tables], axis=1),
        test=SignificanceTest(
            p=np.concatenate([test.p for test in tests]),
            above=np.concatenate([test.above for test in tests]),
            low=np.concatenate([test.low for test in tests]),
            high=np.concatenate([test.high for test in tests]),
        ),
    )


def judge_rows(table: ComparisonTable, threshold: float) -> list[Row]:
    """The rows of a table in the order of its keys, each with its verdict.

    Args:
        table: Rows that are tested together; their p-values are corrected together.
        threshold: Smallest change that counts as a change, as a share of A's time.
    """
    from scipy import stats

    both = table.present[0] & table.present[1]
    tested = int(both.sum())
    corrected = np.full(len(both), np.nan)
    if tested:
        corrected[both] = stats.false_discovery_control(table.test.p[both], method="bh")
    return [_row(table, i, float(corrected[i]), tested, threshold) for i in range(len(table.keys))]


def _row(table: ComparisonTable, i: int, p: float, tested: int, threshold: float) -> Row:
    a, b = (float(size) for size in table.sizes[:, i])
    in_a, in_b = (bool(has) for has in table.present[:, i])
    both = in_a and in_b
    row = Row(
        kind=table.keys[i].kind,
        name=table.keys[i].name,
        a_us=a if in_a else None,
        b_us=b if in_b else None,
        difference_us=b - a,
        ratio=b / a if both and a > 0 else None,
        low=_finite(table.test.low[i]) if both else None,
        high=_finite(table.test.high[i]) if both else None,
        p=_finite(p),
        floor_us=_finite(table.floors[i]),
        verdict="only in A" if in_a else "only in B",
        steps_needed=None,
    )
    if not both:
        return row
    steps = (int(table.steps[0, i]), int(table.steps[1, i]))
    verdict, needed = _verdict(row, float(table.test.above[i]), tested, steps, threshold)
    return replace(row, verdict=verdict, steps_needed=needed)


def _verdict(
    row: Row, above: float, tested: int, steps: tuple[int, int], threshold: float
) -> tuple[ChangeVerdict, int | None]:
    """The verdict on a row that both runs have, and the number of steps needed if it is undecided."""
    change = abs(row.ratio - 1) if row.ratio is not None else float(row.difference_us != 0)
    large = change > 0 and change >= threshold
    if row.significant and not large:
        return "same", None
    # the rank test and the difference of medians may disagree on the direction; then neither is trusted
    if row.clear and (above > 0.5) == (row.difference_us > 0):
        if abs(row.difference_us) <= (row.floor_us or 0.0):
            return "below floor", None
        return ("slower" if row.difference_us > 0 else "faster"), None
    needed = steps_to_separate(tested, *steps)
    if needed is not None:
        return "undecided", needed
    if not large:
        return "same", None
    needed = steps_to_show(above, tested)
    # by that formula the existing steps should be enough, so that no number can be given
    return "undecided", None if needed is None or needed <= min(steps) else needed


def _finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite."""
    return float(value) if np.isfinite(value) else None
