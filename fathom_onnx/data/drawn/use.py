"""One use of a value by a node, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .findings import Finding, Kind, Pass, Reach
from .flow import Flow, Key, Site

__all__ = ["Rule", "Use"]


@dataclass(frozen=True)
class Use:
    """A node that takes a value at a position.

    Attributes:
        flow: The graph.
        site: The node.
        position: Which of its inputs the value is.
        reach: How the value relates to the input that is followed.
        key: The value.
    """

    flow: Flow
    site: Site
    position: int
    reach: Reach
    key: Key

    @property
    def elements(self) -> int | None:
        """Elements of the value, or None."""
        tensor = self.flow.tensor(self.key)
        return None if tensor is None else tensor.elements

    @property
    def text(self) -> str:
        """Element type of the value, as NumPy names it; empty where it is not known."""
        tensor = self.flow.tensor(self.key)
        return tensor.dtype if tensor else ""

    def on(self, reach: Reach | None = None, output: int = 0) -> Iterator[Pass]:
        """The value going on in an output of the node."""
        if output < len(self.site.outputs):
            key = self.site.outputs[output]
            if key is not None:
                yield Pass(key, reach or self.reach)

    def within(
        self, kind: Kind, low: float, high: float, why: str, preferred: float | None = None
    ) -> Iterator[Finding]:
        """A finding that the value lies within a range; only a limit where it is a sum over elements."""
        least, most = self.reach.input_range(low, high)
        value = None if preferred is None else self.reach.input_value(preferred)
        chosen = None if value is None else int(value)
        if least <= most:
            yield Finding("limit" if self.reach.counted else kind, why, self.reach, least, most, preferred=chosen)

    def exactly(self, values: Iterable[float], why: str) -> Iterator[Finding]:
        """A finding that the value is this vector, or that its elements stand at these places in it."""
        place = self.reach.place
        values = list(values)
        if place is None and len(values) != 1:
            return
        first, last = self.reach.first, self.reach.last
        own = {n - (place or 0): self.reach.input_value(float(value)) for n, value in enumerate(values)}
        known = tuple(
            (n, value) for n, value in own.items() if value is not None and first <= n and (last is None or n <= last)
        )
        if known:
            yield Finding("exact", why, self.reach, elements=known)


Rule = Callable[[Use], Iterable[Finding | Pass]]
"""What a use says of the input, and where its values go on."""
