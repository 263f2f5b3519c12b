"""The rows of a comparison of two runs, and what may be said of each: slower, faster, the same, or undecided.

A row is called slower or faster when three things hold: the evidence is clear (the test says so after its correction
for the rows of the table, and the interval of the ratio does not hold 1), the change is as large as was asked for, and
it is more than what profiling itself costs the row's nodes. Where only the last fails it is below the floor: the times
differ, but by no more than measuring them costs. It is the same when the change is smaller than was asked for. It is
undecided when the steps could not have shown a difference, or when a large change may be chance; then the steps that
would do are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .significance import ALPHA, Evidence, steps_to_separate, steps_to_show

__all__ = ["Key", "Kind", "Row", "Table", "Verdict", "judged", "side_by_side"]

Kind = Literal["attributed", "charged", "unattributed", "total"]
Verdict = Literal["slower", "faster", "same", "below floor", "undecided", "only in A", "only in B"]


class Key(NamedTuple):
    """What a row is of; ``name`` is empty where there is one row of its kind."""

    kind: Kind
    name: str


@dataclass(frozen=True)
class Row:
    """One row of a comparison; B against A, in microseconds.

    Attributes:
        kind: ``attributed``, ``charged``, ``unattributed`` or ``total``.
        name: What is compared.
        a_us: Time in A; None where A does not have the row.
        b_us: Time in B; None where B does not have the row.
        difference_us: Time of B less that of A; a row that a run does not have takes no time there.
        ratio: Time of B by that of A; None where either is missing or A's is zero.
        low: Lower end of the ratio's interval; None where it cannot be told.
        high: Its upper end.
        p: p-value, corrected for the rows of the table; None for a row that only one run has.
        floor_us: What profiling costs the row's nodes, in the run where it is more; None where it is not known.
        verdict: What may be said.
        steps_needed: For an undecided row, steps in each run with which it would be decided; None where that cannot be
            told or is over 10,000.
    """

    kind: Kind
    name: str
    a_us: float | None
    b_us: float | None
    difference_us: float
    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    floor_us: float | None
    verdict: Verdict
    steps_needed: int | None

    @property
    def significant(self) -> bool:
        """Whether the test says, after its correction, that the times differ."""
        return self.p is not None and self.p <= ALPHA

    @property
    def clear(self) -> bool:
        """Whether the test and the interval both say so; with a single step or without a ratio the test alone."""
        return self.significant and not (self.low is not None and self.high is not None and self.low <= 1 <= self.high)


@dataclass(frozen=True)
class Table:
    """Rows that are tested together, before anything is said of them.

    Attributes:
        keys: What each row is of.
        present: Whether A has the row, and whether B has, [2, rows].
        sizes: Time in A and in B, [2, rows].
        floors: What profiling costs the row's nodes, NaN where that is not known, [rows].
        steps: Steps of A and of B, [2, rows].
        found: What the steps say.
    """

    keys: Sequence[Key]
    present: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.float64]
    floors: npt.NDArray[np.float64]
    steps: npt.NDArray[np.int64]
    found: Evidence


def side_by_side(tables: Sequence[Table]) -> Table:
    """The rows of several tables as those of one."""
    found = [table.found for table in tables]
    return Table(
        keys=[key for table in tables for key in table.keys],
        present=np.concatenate([table.present for table in tables], axis=1),
        sizes=np.concatenate([table.sizes for table in tables], axis=1),
        floors=np.concatenate([table.floors for table in tables]),
        steps=np.concatenate([table.steps for table in tables], axis=1),
        found=Evidence(
            p=np.concatenate([one.p for one in found]),
            above=np.concatenate([one.above for one in found]),
            low=np.concatenate([one.low for one in found]),
            high=np.concatenate([one.high for one in found]),
        ),
    )


def judged(table: Table, threshold: float) -> list[Row]:
    """The rows of a table in the order of its keys, each with its verdict.

    Args:
        table: Rows that are tested together; their p-values are corrected together.
        threshold: Smallest change that is called one, as a share of A's time.
    """
    from scipy import stats

    both = table.present[0] & table.present[1]
    tested = int(both.sum())
    corrected = np.full(len(both), np.nan)
    if tested:
        corrected[both] = stats.false_discovery_control(table.found.p[both], method="bh")
    return [_row(table, i, float(corrected[i]), tested, threshold) for i in range(len(table.keys))]


def _row(table: Table, i: int, p: float, tested: int, threshold: float) -> Row:
    a, b = (float(size) for size in table.sizes[:, i])
    in_a, in_b = (bool(there) for there in table.present[:, i])
    both = in_a and in_b
    row = Row(
        kind=table.keys[i].kind,
        name=table.keys[i].name,
        a_us=a if in_a else None,
        b_us=b if in_b else None,
        difference_us=b - a,
        ratio=b / a if both and a > 0 else None,
        low=_known(table.found.low[i]) if both else None,
        high=_known(table.found.high[i]) if both else None,
        p=_known(p),
        floor_us=_known(table.floors[i]),
        verdict="only in A" if in_a else "only in B",
        steps_needed=None,
    )
    if not both:
        return row
    steps = (int(table.steps[0, i]), int(table.steps[1, i]))
    verdict, needed = _verdict(row, float(table.found.above[i]), tested, steps, threshold)
    return replace(row, verdict=verdict, steps_needed=needed)


def _verdict(
    row: Row, above: float, tested: int, steps: tuple[int, int], threshold: float
) -> tuple[Verdict, int | None]:
    """The verdict of a row that both runs have, and the steps needed where it is undecided."""
    change = abs(row.ratio - 1) if row.ratio is not None else float(row.difference_us != 0)
    large = change > 0 and change >= threshold
    if row.significant and not large:
        return "same", None
    # a test of ranks and a difference of medians may point apart; then neither is believed
    if row.clear and (above > 0.5) == (row.difference_us > 0):
        if abs(row.difference_us) <= (row.floor_us or 0.0):
            return "below floor", None
        return ("slower" if row.difference_us > 0 else "faster"), None
    needed = steps_to_separate(tested, *steps)
    if needed is not None:
        return "undecided", needed
    if not large:
        return "same", None
    shown = steps_to_show(above, tested)
    # what there is should have been enough by that formula: no number to give
    return "undecided", None if shown is None or shown <= min(steps) else shown


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
