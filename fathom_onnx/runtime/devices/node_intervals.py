"""The node in which a call was made: the nodes of a run as nested intervals, with the certainty of the answer.

onnxruntime rounds a node's start and duration down to whole microseconds, so that a node written as (start, duration)
began within [start, start + 1) and ended within [start + duration, start + duration + 2). Between these bounds a call
at a border may be of either neighbour; the middle of the call and the middles of the bounds decide, and it is told.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from fathom_onnx.runtime.traces.node_runs import NodeRun
from fathom_onnx.runtime.traces.runs import PARENTS

__all__ = ["NodeIntervals"]

_US = 1000
_REACH = 4 * _US
"""A node that began this long before a call and ended before the next began cannot hold the call."""


class NodeIntervals:
    """The nodes that one thread executed in one run.

    Args:
        nodes: In the order in which they ended, a child before its parent, as a trace has them.
    """

    def __init__(self, nodes: Sequence[NodeRun]) -> None:
        self._nodes = nodes
        children: list[list[int]] = []
        open_ends: list[int] = []
        for number, node in enumerate(nodes):
            inner: list[int] = []
            if node.op_type in PARENTS:
                while open_ends and nodes[open_ends[-1]].start_us >= node.start_us:
                    inner.append(open_ends.pop())
            children.append(inner)  # the last one first
            open_ends.append(number)
        # in the order in which they began, a parent before its children
        self._order: list[int] = []
        self._parent: list[int | None] = []
        waiting: list[tuple[int, int | None]] = [(number, None) for number in reversed(open_ends)]
        while waiting:
            number, parent = waiting.pop()
            place = len(self._order)
            self._order.append(number)
            self._parent.append(parent)
            waiting.extend((child, place) for child in children[number])
        self._starts = [nodes[number].start_us * _US for number in self._order]

    def find(self, start_ns: int, end_ns: int, error_ns: int = 0) -> tuple[int | None, bool]:
        """The innermost node that a call was made in.

        Args:
            start_ns: When the call began, on the trace's clock: nanoseconds since the trace's beginning.
            end_ns: When it ended.
            error_ns: How far off both may be.

        Returns:
            The node's number in the order given, None where it was made in no node; and whether another node could hold
            the call as well.
        """
        middle = (start_ns + end_ns) // 2
        near = self._near(start_ns, error_ns)
        fitting = [place for place in near if self._may_hold(place, start_ns, end_ns, error_ns)]
        if not fitting:
            # beyond every bound: only an error of the clocks larger than stated does this
            fitting = [place for place in self._near(middle, error_ns) if self._distance(place, middle) == 0]
            return (self._order[max(fitting)], True) if fitting else (None, False)
        # of those that hold the middle, the innermost is the one that began last
        chosen = min(fitting, key=lambda place: (self._distance(place, middle), -place))
        ancestors = set(self._up(chosen))
        rivals = [place for place in fitting if place not in ancestors]
        surely = not rivals and (self._surely_holds(chosen, start_ns, end_ns, error_ns) or not ancestors - {chosen})
        return self._order[chosen], not surely

    def _near(self, start_ns: int, error_ns: int) -> Iterator[int]:
        """Places of all nodes that could hold a call that began then, latest first."""
        place = bisect_right(self._starts, start_ns + error_ns) - 1
        while place >= 0 and self._starts[place] > start_ns - error_ns - _REACH:
            yield place
            place -= 1
        if place >= 0:
            yield from self._up(place)

    def _up(self, place: int | None) -> Iterator[int]:
        """A node and all that hold it."""
        while place is not None:
            yield place
            place = self._parent[place]

    def _may_hold(self, place: int, start_ns: int, end_ns: int, error_ns: int) -> bool:
        end = self._starts[place] + (self._nodes[self._order[place]].duration_us + 2) * _US
        return self._starts[place] - error_ns <= start_ns and end_ns <= end + error_ns

    def _surely_holds(self, place: int, start_ns: int, end_ns: int, error_ns: int) -> bool:
        end = self._starts[place] + self._nodes[self._order[place]].duration_us * _US
        return self._starts[place] + _US + error_ns <= start_ns and end_ns <= end - error_ns

    def _distance(self, place: int, middle_ns: int) -> int:
        """How far a time is from the middles of a node's bounds; 0 within."""
        start = self._starts[place] + _US // 2
        end = self._starts[place] + (self._nodes[self._order[place]].duration_us + 1) * _US
        return max(start - middle_ns, middle_ns - end, 0)
