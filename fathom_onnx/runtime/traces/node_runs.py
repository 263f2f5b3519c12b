"""The executions of nodes in a run: a tuple each, or columns, which hold and add up millions of them at less cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

__all__ = ["Kind", "NodeRun", "NodeRuns"]


class Kind(NamedTuple):
    """What an execution is of."""

    name: str
    op_type: str
    provider: str


class NodeRun(NamedTuple):
    """One execution of a node within a run; ``self_us`` is its time without that of nodes in its bodies."""

    name: str
    op_type: str
    provider: str
    thread: int
    start_us: int
    duration_us: int
    self_us: int


class NodeRuns(Sequence[NodeRun]):
    """Executions in a row, as columns.

    Args:
        kinds: What they are of, each kind once; there may be more, and more may be added.
        which: For each execution the place of its kind.
        thread: For each execution its thread.
        start_us: For each execution its start, and so on.
    """

    __slots__ = ("duration_us", "kinds", "self_us", "start_us", "thread", "which")

    def __init__(
        self,
        kinds: Sequence[Kind],
        which: list[int],
        thread: list[int],
        start_us: list[int],
        duration_us: list[int],
        self_us: list[int],
    ) -> None:
        self.kinds = kinds
        self.which = which
        self.thread = thread
        self.start_us = start_us
        self.duration_us = duration_us
        self.self_us = self_us

    @classmethod
    def of(cls, nodes: Sequence[NodeRun]) -> NodeRuns:
        """The columns of executions; the same object where they are columns."""
        if isinstance(nodes, cls):
            return nodes
        places: dict[Kind, int] = {}
        which = [places.setdefault(Kind(*node[:3]), len(places)) for node in nodes]
        return cls(
            list(places),
            which,
            [node.thread for node in nodes],
            [node.start_us for node in nodes],
            [node.duration_us for node in nodes],
            [node.self_us for node in nodes],
        )

    def __add__(self, other: NodeRuns) -> NodeRuns:
        """These executions, then others of the same kinds."""
        return NodeRuns(
            self.kinds,
            self.which + other.which,
            self.thread + other.thread,
            self.start_us + other.start_us,
            self.duration_us + other.duration_us,
            self.self_us + other.self_us,
        )

    def __len__(self) -> int:
        return len(self.which)

    @overload
    def __getitem__(self, place: int) -> NodeRun: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[NodeRun]: ...

    def __getitem__(self, place: int | slice) -> NodeRun | Sequence[NodeRun]:
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        columns = (self.thread, self.start_us, self.duration_us, self.self_us)
        return NodeRun(*self.kinds[self.which[place]], *(column[place] for column in columns))

    def __iter__(self) -> Iterator[NodeRun]:
        rows = zip(self.which, self.thread, self.start_us, self.duration_us, self.self_us, strict=True)
        return (NodeRun(*self.kinds[which], *rest) for which, *rest in rows)
