"""The batches of a run, one a step: whatever iterable a user has, as arrays by input name, with the step's draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fathom_onnx.errors import RunError

from .noise import NoiseInput

__all__ = ["fed_batches"]


def fed_batches(
    batches: Iterable[Any], names: Sequence[str], noise: Sequence[NoiseInput], seed: int, done: int
) -> Iterator[dict[str, Any]]:
    """What each step is fed with, from the one after ``done``.

    Args:
        batches: Input name to array, or arrays in the order of ``names``; begun anew when they end, if they can be.
        names: The batch inputs of the graph.
        noise: Inputs that take the place of the graph's draws.
        seed: Seed of the draws.
        done: Steps that were taken already.

    Raises:
        RunError: A batch has another number of arrays than the graph has batch inputs.
    """
    samplers = {n.name: n.sampler(seed) for n in noise}
    for number, batch in enumerate(_named(_endless(batches), names, done), done + 1):
        yield {**batch, **{name: sample(number) for name, sample in samplers.items()}}


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches, begun anew when they end; an iterator cannot be begun anew."""
    if iter(batches) is batches:
        yield from batches
        return
    while True:
        count = 0
        for batch in batches:
            count += 1
            yield batch
        if not count:
            return


def _named(batches: Iterator[Any], names: Sequence[str], done: int) -> Iterator[dict[str, Any]]:
    """Batches as arrays by name, from the one after ``done``."""
    for batch in itertools.islice(batches, done, None):
        given = batch if isinstance(batch, Mapping) else _paired(batch, names)
        yield {name: _array(value) for name, value in given.items()}


def _paired(batch: Any, names: Sequence[str]) -> dict[str, Any]:
    parts = list(batch) if isinstance(batch, tuple | list) else [batch]
    if len(parts) != len(names):
        raise RunError(
            f"a batch has {len(parts)} parts, the graph {len(names)} batch inputs ({', '.join(names)})",
            "give a dict of arrays by input name",
        )
    return dict(zip(names, parts, strict=True))


def _array(value: Any) -> Any:
    """A tensor of a framework as an array; what is an array, a list of arrays or None as it is."""
    if value is None or isinstance(value, np.ndarray | list):
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)
