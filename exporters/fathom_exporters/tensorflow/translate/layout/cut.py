"""The cheapest assignment of one of two labels, as a minimum cut."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

__all__ = ["Choice", "Cut"]

Choice = Hashable
"""What has a label: False and True stand for the two labels themselves."""

_ALWAYS = 10**8
"""More than everything that a cut can cost."""


class Cut:
    """Collects what different labels cost, and finds the labels at which that is least in all."""

    def __init__(self) -> None:
        self._numbers: dict[Choice, int] = {False: 0, True: 1}
        self._edges: list[tuple[int, int, int]] = []
        self._helpers = itertools.count()

    def _number(self, choice: Choice) -> int:
        return self._numbers.setdefault(choice, len(self._numbers))

    def _cost(self, unset: Choice, set_: Choice, cost: int) -> None:
        """``unset`` False with ``set_`` True costs something."""
        if unset != set_:
            self._edges.append((self._number(unset), self._number(set_), cost))

    def prefer(self, choice: Choice, label: bool, cost: int) -> None:
        """Another label than this one costs something."""
        if label:
            self._cost(choice, True, cost)
        else:
            self._cost(False, choice, cost)

    def connect(self, source: Choice, users: Iterable[Choice], cost: int) -> None:
        """Users with another label than their source cost something, once for all of them."""
        users = list(users)
        for backwards in (False, True):
            helper = ("helper", next(self._helpers))
            pairs = [(helper, user, _ALWAYS) for user in users]
            for a, b, price in [(source, helper, cost), *pairs]:
                self._cost(*((b, a) if backwards else (a, b)), price)

    def solve(self) -> dict[Choice, bool]:
        """The label of everything; True where both cost the same."""
        rows, columns, costs = (np.array(column, np.int32) for column in zip(*self._edges, strict=True))
        size = len(self._numbers)
        capacities = csr_array(coo_array((costs, (rows, columns)), shape=(size, size)), dtype=np.int32)
        flow = maximum_flow(capacities, 0, 1).flow
        left = csr_array(capacities - flow)
        left.eliminate_zeros()
        unset = set(breadth_first_order(left, 0, return_predecessors=False).tolist())
        return {choice: number not in unset for choice, number in self._numbers.items()}
