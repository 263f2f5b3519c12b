"""What a recipe's workload has in place of a configuration and of a described update rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fathom_onnx.workloads.contract import Array, Initialiser, Variable

__all__ = ["RecipeConfig", "RecordedOptimizer", "starting_variable", "unique"]


@dataclass(frozen=True)
class RecipeConfig:
    """What a recipe's workload is made of, for the graph's metadata.

    Attributes:
        model: Class of the model.
        optimizer: Class of the optimizer; empty for none.
        accumulate: Parts that the batch is cut into.
    """

    model: str
    optimizer: str = ""
    accumulate: int = 1


@dataclass(frozen=True)
class RecordedOptimizer:
    """An update rule that is recorded, not described: the op of its nodes, and its state.

    Attributes:
        OP: The canonical op.
        slots: The optimizer's own variables, in interface order.
    """

    OP: str
    slots: tuple[Variable, ...] = ()

    def variables(self, parameters: tuple[Variable, ...]) -> tuple[Variable, ...]:
        """The optimizer's own state."""
        return self.slots

    def update(self, name: str, values: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """None: the rule is the framework's own, which the judge runs itself."""
        return


def starting_variable(name: str, value: Array, stored: dict[str, Array]) -> Variable:
    """A variable that starts as it is in a live model: a constant where all elements are one number, else stored.

    Args:
        name: Its name.
        value: Its value.
        stored: Stored values by name; the value is added to them where it is no constant.
    """
    first = value.reshape(-1)[:1]
    start = Initialiser.stored()
    if value.size and np.isfinite(first).all() and (value == first).all():
        start = Initialiser.constant(float(first[0]))
    else:
        stored[name] = value
    return Variable(name, tuple(value.shape), start, str(value.dtype))


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, or with the first number that makes it differ from all that are taken."""
    taken = set(taken)
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
