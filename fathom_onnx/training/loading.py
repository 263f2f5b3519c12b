"""Batches made ahead of the steps that need them, by a thread of their own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

__all__ = ["Ahead"]

Made = Mapping[str, Any]

_FEWEST, _MOST = 4, 32
_BYTES = 16 * 2**20


def _depth(made: Made) -> int:
    """How many batches like this one may wait: the more, the smaller they are."""
    size = sum(getattr(value, "nbytes", 0) for value in made.values())
    return max(_FEWEST, min(_MOST, _BYTES // max(1, size)))


class Ahead:
    """The items of an iterator, made ahead by a thread.

    The thread works in bursts: when as many wait as may, it sleeps until half of them are taken. The steps and the
    thread then hand the interpreter to each other once in many steps, and a step finds its batch there.

    Args:
        source: What makes them; used by the thread only.
        depth: How many may wait; by default 4 to 32, those of 16 MiB.
    """

    def __init__(self, source: Iterator[Made], depth: int | None = None) -> None:
        self._source = source
        self._depth = depth
        self._ready: deque[Made | BaseException | None] = deque()
        self._stopped = False
        self._some, self._room = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._make, name="batches", daemon=True)
        self._ended = False
        self.waited_s = 0.0
        """Seconds that steps have waited for their batches."""

    def _make(self) -> None:
        last: BaseException | None = None
        try:
            for made in self._source:
                self._put(made)
                self._depth = self._depth or _depth(made)
                if len(self._ready) >= self._depth:
                    self._sleep()
                if self._stopped:
                    return
        except BaseException as error:  # it is raised again where the batch is asked for
            last = error
        self._put(last)

    def _put(self, item: Made | BaseException | None) -> None:
        self._ready.append(item)
        self._some.set()

    def _sleep(self) -> None:
        """Until half of what waits is taken, or nothing more is wanted."""
        while True:
            self._room.clear()
            # looked at after clearing: what is taken from now on sets the event again
            if self._stopped or self._has_room():
                return
            self._room.wait()

    def _has_room(self) -> bool:
        return len(self._ready) <= (self._depth or 0) // 2

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._room.set()
        self._thread.join(timeout=5)

    def next(self) -> Made | None:
        """The next item; None when there are no more.

        Raises:
            BaseException: What the source raised.
        """
        if self._ended:
            return None
        item = self._taken()
        if item is None or isinstance(item, BaseException):
            self._ended = True
        if isinstance(item, BaseException):
            raise item
        return item

    def _taken(self) -> Made | BaseException | None:
        """The oldest item that waits, as soon as there is one."""
        if not self._ready:
            started = time.perf_counter()
            while not self._ready:
                self._some.clear()
                # looked at after clearing: what is put from now on sets the event again
                if not self._ready:
                    self._some.wait()
            self.waited_s += time.perf_counter() - started
        item = self._ready.popleft()
        if self._has_room():
            self._room.set()
        return item
