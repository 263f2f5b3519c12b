"""Gradient checkpointing: what a recording needs to tell a repeated part of the forward pass from the first one."""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

from torch.fx.traceback import annotate
from torch.utils import checkpoint

__all__ = ["RECOMPUTED", "repeats_are_marked"]

RECOMPUTED = "fathom_recomputed"
"""Key of the annotation of an operation that repeats a part of the forward pass for the backward pass."""


def _marking(function: Callable[..., Any], first: int) -> Callable[..., Any]:
    """A function whose operations are marked from its ``first`` repetition on, counting its calls from 1."""
    calls = 0

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        with annotate({RECOMPUTED: True}) if calls >= first else contextlib.nullcontext():
            return function(*args, **kwargs)

    return called


class _MarkedCheckpoint:
    """In place of PyTorch's autograd function of the reentrant form."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def apply(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._own.apply(_marking(function, 2), *args)


@contextlib.contextmanager
def repeats_are_marked() -> Iterator[None]:
    """While entered, what ``torch.utils.checkpoint`` repeats is annotated with :data:`RECOMPUTED`."""
    generator = checkpoint._checkpoint_without_reentrant_generator

    def marked(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return generator(_marking(function, 1), *args, **kwargs)  # only the repetition goes through it

    with (
        unittest.mock.patch.object(checkpoint, "_checkpoint_without_reentrant_generator", marked),
        unittest.mock.patch.object(checkpoint, "CheckpointFunction", _MarkedCheckpoint(checkpoint.CheckpointFunction)),
    ):
        yield
