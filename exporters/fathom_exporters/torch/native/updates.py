"""The parameter that each operation of an update belongs to.

``torch.optim`` updates parameters in one of three ways, of which the profiler shows the operations and not the
parameters. By default, on the CPU, it is a loop that runs the same operations for each parameter. ``foreach``
operations take lists of all parameters; on the CPU they call one operation for each element. A ``fused`` operation is
one kernel for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["FOREACH", "FUSED", "Trained", "owners"]

FOREACH, FUSED = "_foreach_", "_fused_"
"""Start of the plain names of operations on lists of tensors, and of kernels for a whole update of such lists."""


class Trained(NamedTuple):
    """A parameter that a step updates: its name and the number of its elements."""

    name: str
    elements: int


def owners(names: Sequence[str], parameters: Sequence[Trained]) -> list[str]:
    """The parameter of each operation, empty where it is not known.

    It is known if the operations are the same ones for each parameter, one parameter after the other.

    Args:
        names: The operations in order of time.
        parameters: The parameters in the optimizer's order.
    """
    block, rest = divmod(len(names), len(parameters)) if parameters else (0, 1)
    if rest or list(names) != list(names[:block]) * len(parameters):
        return [""] * len(names)
    return [parameter.name for parameter in parameters for _ in range(block)]
