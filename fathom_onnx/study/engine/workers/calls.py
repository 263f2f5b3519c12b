"""What worker processes do: calls, each with its lane, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["CallOutcome", "WorkerCall", "Workers"]


@dataclass(frozen=True)
class WorkerCall:
    """A module-level function and its argument, both of which can be pickled, and the lane that runs it.

    Attributes:
        lane: The lane.
        function: What is done.
        argument: What it is done for.
        imports: Imports what the call needs, and starts nothing; None where the call does that itself. A lane has one.
        others: Further lanes that may run it: the first one that is free does.
        group: Calls of one group are done by the lane that did the first of them; of none where it is empty.
    """

    lane: str
    function: Callable[[Any], dict[str, Any]]
    argument: Any
    imports: Callable[[], object] | None = None
    others: tuple[str, ...] = ()
    group: str = ""

    @property
    def lanes(self) -> tuple[str, ...]:
        """All lanes that may run it."""
        return (self.lane, *self.others)


@dataclass(frozen=True)
class CallOutcome:
    """The end of a call: a result, or None and the one-line error; and how long it took."""

    result: dict[str, Any] | None
    error: str
    seconds: float


class Workers(Protocol):
    """Anything that can do calls."""

    def run(self, calls: Sequence[WorkerCall], fresh: bool = False) -> Iterator[tuple[WorkerCall, CallOutcome | None]]:
        """Do calls; yields a call with None when it starts, and with its outcome when it is done.

        Args:
            calls: The calls; those of one lane are begun in order.
            fresh: Whether each call gets a process of its own, so that no thread pool outlives it.
        """
