"""Batches made ahead of the steps that need them, by a thread of their own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

__all__ = ["Ahead"]

Made = Mapping[str, Any]


class Ahead:
    """The items of an iterator, made ahead by a thread.

    Args:
        source: What makes them; used by the thread only.
        depth: How many may wait.
    """

    def __init__(self, source: Iterator[Made], depth: int = 4) -> None:
        self._source = source
        self._ready: queue.Queue[Made | BaseException | None] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._make, name="batches", daemon=True)
        self._ended = False
        self.waited_s = 0.0
        """Seconds that steps have waited for their batches."""

    def _make(self) -> None:
        last: BaseException | None = None
        try:
            for made in self._source:
                if not self._put(made):
                    return
        except BaseException as error:  # it is raised again where the batch is asked for
            last = error
        self._put(last)

    def _put(self, item: Made | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)

    def next(self) -> Made | None:
        """The next item; None when there are no more.

        Raises:
            BaseException: What the source raised.
        """
        if self._ended:
            return None
        started = time.perf_counter()
        item = self._ready.get()
        self.waited_s += time.perf_counter() - started
        if item is None or isinstance(item, BaseException):
            self._ended = True
        if isinstance(item, BaseException):
            raise item
        return item
