"""The events of PyTorch's profiler as a tree, read from the profiler's own.

``profile.events()`` makes an object of forty entries of each event and finds the tree anew from the times, which takes
longer than many a step. The profiler has the tree already; PyTorch's own tools read it (``torch.profiler._utils``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch.autograd.profiler_util import _filter_name
from torch.profiler import profile

from fathom_onnx.errors import RunError

from .ops import PREFIX

__all__ = ["ROOT", "Event", "event_tree", "find_step"]

ROOT = "fathom_onnx.step"
"""Name of the scope around a whole step."""


@dataclass(slots=True)
class Event:
    """An operation or a scope.

    Attributes:
        name: Its name.
        start_ns: When it began.
        us: How long it took, with all that it called.
        sequence_nr: Number that a forward operation shares with its backward function; -1 where it has none.
        children: What it called, in order of time.
    """

    name: str
    start_ns: int
    us: float
    sequence_nr: int = -1
    children: list[Event] = field(default_factory=list)

    @property
    def self_us(self) -> float:
        """How long it took beside what it called."""
        return self.us - sum(child.us for child in self.children)


def event_tree(profiler: profile) -> list[Event]:
    """The events at the top of a profile that has ended."""
    recorded = profiler.profiler
    if recorded is None or recorded.kineto_results is None:
        raise RunError("the profile has no results", "profile again")
    return list(_read(recorded.kineto_results.experimental_event_tree()))


def _read(nodes: list[Any]) -> Iterator[Event]:
    """Events of some nodes in order of time; those that PyTorch's own list leaves out give their children instead."""
    for node in sorted(nodes, key=lambda n: n.start_time_ns):
        number = getattr(node.extra_fields, "sequence_number", None)  # operations and scopes have one
        if number is None or _filter_name(node.name):
            yield from _read(node.children)
            continue
        children = list(_read(node.children))
        while len(children) == 1 and children[0].name == node.name:  # as in PyTorch's own list
            children = children[0].children
        yield Event(node.name, node.start_time_ns, node.duration_time_ns / 1000, number, children)


def find_step(events: list[Event]) -> Event:
    """The event of the whole step, among those at the top of a profile.

    Raises:
        RunError: There is none or more than one, or an operation ran outside it (in another thread) and would be lost.
    """
    steps = [event for event in events if event.name == ROOT]
    if len(steps) != 1:
        raise RunError(f"the profile holds {len(steps)} steps where there was one", "profile again")
    for event in events:
        if event.name.startswith(PREFIX):
            raise RunError(f"operation '{event.name}' ran outside the step", "profile on the CPU")
    return steps[0]
