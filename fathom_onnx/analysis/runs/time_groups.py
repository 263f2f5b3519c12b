"""Sums of a run's time by phase, class, op and layer: for runs of a graph and native runs alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import pandas as pd

__all__ = ["GROUPINGS", "GROUPING_COLUMNS", "Grouping", "TimeGroups", "time_groups"]

Grouping = Literal["phase", "class", "op", "layer", "node"]
"""What the rows of a table are summed by."""

GROUPINGS: tuple[Grouping, ...] = ("phase", "class", "op", "layer", "node")
"""All groupings, in the order in which they are reported."""

GROUPING_COLUMNS: dict[str, str] = {
    "phase": "phase",
    "class": "op_class",
    "op": "op",
    "layer": "layer",
    "node": "original",
}
"""Grouping to its column of a run's attribution table."""


def time_groups(
    rows: pd.DataFrame, column: str, total: float, count: str, count_of: Callable[[Any], Any]
) -> pd.DataFrame:
    """Time by the values of a column: ``name``, ``us``, ``share``, and a count, largest first.

    Args:
        rows: A table with ``us`` (microseconds) and ``column``.
        column: The column to group by.
        total: Microseconds of which ``share`` is the part.
        count: Name of the count's column.
        count_of: From the grouped rows to a count for each group.
    """
    grouped = rows.groupby(column, sort=True)
    table = pd.DataFrame({"name": list(grouped.groups), "us": grouped["us"].sum().to_numpy(float)})
    table["share"] = table["us"] / total if total else 0.0
    table[count] = count_of(grouped).to_numpy()
    return table.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)


class TimeGroups(ABC):
    """A run whose time can be summed by phase, class, op and layer."""

    @property
    @abstractmethod
    def _timed(self) -> pd.DataFrame:
        """Rows with their time (``us``) and what they can be grouped by."""

    def crossed(self, rows: Grouping, columns: Grouping) -> pd.DataFrame:
        """Microseconds by two groupings at once: a row and a column a name, 0 where they have no time in common.

        Args:
            rows: The grouping of the rows, the longest first.
            columns: The grouping of the columns.
        """
        table = self._timed.pivot_table(
            index=GROUPING_COLUMNS[rows], columns=GROUPING_COLUMNS[columns], values="us", aggfunc="sum", fill_value=0.0
        )
        return table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]

    @abstractmethod
    def _by(self, column: str) -> pd.DataFrame:
        """Time by the values of a column, largest first."""

    def by_phase(self) -> pd.DataFrame:
        """Time by phase (``name``, ``us``, ``share`` and a count), largest first."""
        return self._by("phase")

    def by_class(self) -> pd.DataFrame:
        """Time by class A to G, largest first."""
        return self._by("op_class")

    def by_op(self) -> pd.DataFrame:
        """Time by canonical op, largest first."""
        return self._by("op")

    def by_layer(self) -> pd.DataFrame:
        """Time by layer, largest first."""
        return self._by("layer")
