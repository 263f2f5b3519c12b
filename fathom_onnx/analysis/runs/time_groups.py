"""Times by phase, class, op and layer: what the run of a graph and a framework's own run have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import pandas as pd

__all__ = ["TimeGroups", "time_groups"]


def time_groups(rows: pd.DataFrame, column: str, total: float, count: str, of: Callable[[Any], Any]) -> pd.DataFrame:
    """Sums over a column: ``name``, ``us``, ``share``, and a count, the largest first.

    Args:
        rows: A table with ``us``, microseconds, and ``column``.
        column: What the rows are grouped by.
        total: Microseconds that shares are of.
        count: Name of the count's column.
        of: From the grouped rows to a count for each group.
    """
    grouped = rows.groupby(column, sort=True)
    table = pd.DataFrame({"name": list(grouped.groups), "us": grouped["us"].sum().to_numpy(float)})
    table["share"] = table["us"] / total if total else 0.0
    table[count] = of(grouped).to_numpy()
    return table.sort_values(["us", "name"], ascending=[False, True], ignore_index=True)


class TimeGroups(ABC):
    """A run whose time can be summed over columns."""

    @abstractmethod
    def _by(self, column: str) -> pd.DataFrame:
        """Sums over a column, largest first."""

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
