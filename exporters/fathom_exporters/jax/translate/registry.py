"""Rules: from an equation of a jaxpr to values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .emit import Emit, Result
from .values import Known, Value

__all__ = ["Equation", "Rule", "Run", "UnknownError", "rule_table"]


class UnknownError(Exception):
    """An equation is of a kind that no rule writes; the text says which."""

    def __init__(self, lacks: str, rewrite: str = "") -> None:
        super().__init__(lacks)
        self.lacks, self.rewrite = lacks, rewrite


class Run(Protocol):
    """Runs the body of an equation: its jaxpr and constants, the arguments, and the outer name stack."""

    def __call__(self, jaxpr: Any, consts: Sequence[Known], given: Sequence[Value], stack: str) -> list[Value]:
        """The results."""


@dataclass(frozen=True)
class Equation:
    """One equation with its arguments.

    Attributes:
        primitive: The primitive's name.
        params: Its parameters.
        given: The arguments.
        results: Shape and type of each result, in the graph.
        stack: The name stack.
        run: Runs a body.
    """

    primitive: str
    params: Mapping[str, Any]
    given: tuple[Value, ...]
    results: tuple[Result, ...]
    stack: str
    run: Run

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first result."""
        return self.results[0][0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of the first result."""
        return self.results[0][1]


Rule = Callable[[Emit, Equation], Any]
"""From an equation to its result, or to a list of several."""


def rule_table(*tables: Mapping[str, Rule]) -> dict[str, Rule]:
    """One table of several; a primitive is in one of them."""
    made: dict[str, Rule] = {}
    for table in tables:
        twice = made.keys() & table.keys()
        if twice:
            raise ValueError(f"two rules for {sorted(twice)}")
        made |= table
    return made
