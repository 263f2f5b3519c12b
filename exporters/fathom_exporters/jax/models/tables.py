"""Reading rows of a table by number."""

from __future__ import annotations

from jax import Array

__all__ = ["rows"]


def rows(table: Array, ids: Array) -> Array:
    """The rows of a table [count, ...] that ``ids`` names, each at least 0 and less than ``count``: [*ids, ...].

    ``table[ids]`` would also take negative numbers, and choose for every element.
    """
    return table.at[ids].get(mode="promise_in_bounds", wrap_negative_indices=False)
