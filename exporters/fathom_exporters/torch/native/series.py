"""Series of steps that all start from the same values and take the same batches."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fathom_onnx.native import NativeRequest, Progress

from .users import UserStep

__all__ = ["Run", "Series", "Tensors", "with_threads"]

Tensors = dict[str, Tensor]
"""A batch by input name."""

Run = Callable[[Tensors], None]
"""Runs a step on a batch and records what is measured."""


@contextlib.contextmanager
def with_threads(count: int) -> Iterator[None]:
    """While entered, PyTorch runs with ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Series:
    """Series of steps that all start from the same values and take the same batches."""

    def __init__(self, request: NativeRequest, progress: Progress) -> None:
        self._request, self._progress = request, progress
        self._start = request.workload.initial_values(request.mode, request.seed)
        self._batches = [{n: torch.from_numpy(v) for n, v in batch.items()} for batch in request.batches]

    def begin(self, step: UserStep) -> Tensors:
        """Put the starting values into a step's module; the first batch."""
        step.load(self._start)
        return self._batches[0]

    def run(self, what: str, step: UserStep, once: Run, warmup: int | None = None) -> None:
        """Run the steps by ``once``, those of the warm-up included: as many as the request says where none is given."""
        count = (self._request.warmup if warmup is None else warmup) + self._request.steps
        self.begin(step)
        for number, batch in enumerate(itertools.islice(itertools.cycle(self._batches), count), 1):
            once(batch)
            self._progress(what, number, count)
