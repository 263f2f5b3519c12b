"""Batches made ahead: in their order, in bursts, and never more than may wait."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fathom_onnx.training.loading import Ahead


class Counted:
    """Numbered batches of a size, and how many were made."""

    def __init__(self, count: int | None = None, size: int = 1) -> None:
        self.made = 0
        self._numbers = itertools.count() if count is None else range(count)
        self._size = size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in self._numbers:
            self.made += 1
            yield {"x": np.full(self._size, number % 256, "uint8")}


def until(wanted: Any) -> bool:
    """Whether something becomes true within seconds."""
    ends = time.monotonic() + 10
    while not wanted() and time.monotonic() < ends:
        time.sleep(0.001)
    return bool(wanted())


def test_all_come_in_their_order_and_then_none() -> None:
    with Ahead(iter(Counted(1000)), depth=3) as ahead:
        assert [int(ahead.next()["x"][0]) for _ in range(1000)] == [n % 256 for n in range(1000)]
        assert ahead.next() is None
        assert ahead.next() is None


def test_the_thread_sleeps_until_half_is_taken() -> None:
    source = Counted()
    with Ahead(iter(source), depth=8) as ahead:
        assert until(lambda: source.made == 8)
        for taken in range(1, 4):
            ahead.next()
            time.sleep(0.02)
            assert (source.made, taken) == (8, taken)
        ahead.next()
        assert until(lambda: source.made == 12)


@pytest.mark.parametrize(("size", "waiting"), [(1, 32), (2**20, 16), (2**23, 4)])
def test_the_smaller_batches_are_the_more_of_them_wait(size: int, waiting: int) -> None:
    source = Counted(size=size)
    with Ahead(iter(source)):
        assert until(lambda: source.made == waiting)
        time.sleep(0.02)
        assert source.made == waiting


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield {"x": np.zeros(1)}
        raise ValueError("no more of this")

    with Ahead(failing()) as ahead:
        assert ahead.next() is not None
        with pytest.raises(ValueError, match="no more of this"):
            ahead.next()
        assert ahead.next() is None


def test_a_thread_that_sleeps_ends_with_the_run() -> None:
    before = threading.active_count()
    source = Counted()
    with Ahead(iter(source), depth=4):
        assert until(lambda: source.made == 4)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_waiting_is_counted() -> None:
    def slow() -> Iterator[dict[str, Any]]:
        while True:
            time.sleep(0.05)
            yield {}

    with Ahead(slow()) as ahead:
        ahead.next()
    assert ahead.waited_s > 0.02
