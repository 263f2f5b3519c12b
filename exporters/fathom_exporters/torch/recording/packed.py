"""Packed sequences of ``torch.nn.utils.rnn`` in operations of fixed shapes, for the lengths that they have.

A packed sequence holds the elements of all sequences that have a first step, then those that have a second one, and so
on. How many there are is read from the lengths as numbers, so that a recording has to be specialised.
"""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decompositions

__all__ = ["packed_sequences"]

_VF: Any = torch._VF


class _Sizes(list[int]):
    """How many sequences have each step, in place of the tensor that PyTorch keeps it in."""

    device = torch.device("cpu")

    def size(self, axis: int = 0) -> int:
        """How many steps the longest sequence has."""
        return len(self)


def _pack(input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, _Sizes]:
    numbers = [int(length) for length in lengths]
    steps = input.transpose(0, 1) if batch_first else input
    sizes = _Sizes(sum(length > step for length in numbers) for step in range(max(numbers)))
    return torch.cat([steps[step, :size] for step, size in enumerate(sizes)]), sizes


def _unpack(
    data: Tensor, sizes: _Sizes, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    rows = sizes[0]
    steps = []
    for part in data.split(list(sizes)):
        empty = part.new_full((rows - len(part), *part.shape[1:]), padding_value)
        steps.append(torch.cat([part, empty]) if len(part) < rows else part)
    steps += [data.new_full((rows, *data.shape[1:]), padding_value)] * max(total_length - len(sizes), 0)
    lengths = torch.tensor([sum(size > row for size in sizes) for row in range(rows)])
    return torch.stack(steps, 1 if batch_first else 0), lengths


_LAYERS: dict[str, Callable[..., Any]] = {
    "lstm": decompositions.lstm_data_impl,
    "gru": decompositions.gru_impl_data,
    "rnn_tanh": decompositions.rnn_tanh_data,
    "rnn_relu": decompositions.rnn_relu_data,
}
"""Recurrence to PyTorch's own form of it, step by step, for packed sequences."""


def _either(name: str) -> Callable[..., Any]:
    """A recurrence over packed sequences by its steps, over any other as it is."""
    own = getattr(_VF, name)

    def run(*args: Any) -> Any:
        return _LAYERS[name](*args) if isinstance(args[1], _Sizes) else own(*args)

    return run


@contextlib.contextmanager
def packed_sequences() -> Iterator[None]:
    """While entered, sequences are packed and unpacked, and recurrences run over them, in plain operations."""
    functions: dict[str, Any] = {"_pack_padded_sequence": _pack, "_pad_packed_sequence": _unpack}
    functions |= {name: _either(name) for name in _LAYERS}
    with unittest.mock.patch.multiple(_VF, **functions):
        yield
