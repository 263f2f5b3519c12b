"""The split of a convolution's backward time into its gradients: each is run alone and timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["REPEATS", "ConvolutionGradients"]

REPEATS = 3
"""Runs of each gradient, of which the fastest counts."""

_OUTPUT_MASK = 10
"""Position of ``output_mask`` (input, filter, bias) among the operation's arguments."""


def _fastest_us(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times) * 1e6


class ConvolutionGradients(TorchDispatchMode):
    """While entered, times the gradients of every convolution separately, and then computes what was requested.

    Attributes:
        input_shares: For each operation in order, the input gradient's share of the time: 1 or 0 where only the input's
            or only the filter's gradient was requested, since there is nothing to split.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.input_shares: list[float] = []

    def _input_share(self, func: Any, args: tuple[Any, ...]) -> float:
        mask = args[_OUTPUT_MASK]
        if not mask[0]:
            return 0.0
        if not any(mask[1:]):
            return 1.0
        before, after = args[:_OUTPUT_MASK], args[_OUTPUT_MASK + 1 :]
        of_input = _fastest_us(lambda: func(*before, [True, False, False], *after))
        of_filter = _fastest_us(lambda: func(*before, [False, *mask[1:]], *after))
        return of_input / (of_input + of_filter)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, after its parts have been timed if it is a convolution's backward."""
        if func is torch.ops.aten.convolution_backward.default:
            self.input_shares.append(self._input_share(func, args))
        return func(*args, **(kwargs or {}))
