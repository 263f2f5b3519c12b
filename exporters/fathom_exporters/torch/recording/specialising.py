"""A step recorded as it is for the values of one example: shapes and numbers that depend on values become constants.

An operation whose result has as many elements as values say (where a mask is true, which values are unlike) gives
places and counts, never anything with a gradient; its result for the example is what the graph holds. What is then read
from those places is recorded as ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.fx.experimental.proxy_tensor import (
    disable_proxy_modes_tracing,
    get_proxy_mode,
    get_proxy_slot,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from fathom_onnx.errors import ExportError

__all__ = ["Doubt", "doubts", "numbers_go_to_numpy", "specialised"]

_aten = torch.ops.aten

Table = Mapping[OpOverload[..., Any], Callable[..., Any]]

_PLACES = (
    _aten.nonzero.default,
    _aten.argwhere.default,
    _aten._unique.default,
    _aten._unique2.default,
    _aten.unique_dim.default,
    _aten.unique_consecutive.default,
    _aten.repeat_interleave.Tensor,
    _aten.bincount.default,
)
"""Operations on numbers without a gradient whose result's shape depends on values."""

_NUMBERS = (_aten._local_scalar_dense.default, _aten.is_nonzero.default, _aten.equal.default)
"""Operations that give Python a number."""

_MASKS = (torch.bool, torch.uint8)

Doubt = Callable[[Tensor], None]
"""Refuses a tensor whose values are others in the next step: what it chooses cannot be a constant."""


def doubts(carried: frozenset[int], drawn: frozenset[int]) -> tuple[Doubt, Doubt]:
    """What refuses, while a step is recorded, values that the next step does not have.

    Args:
        carried: Numbers of the recording's inputs that each step changes, such as parameters.
        drawn: Numbers of those that are random.

    Returns:
        A function that refuses what depends on either, and one that refuses what depends on random numbers alone: an
        assertion reads what parameters say, and says nothing else.
    """

    def of(given: frozenset[int], what: str, rewrite: str) -> Doubt:
        def doubt(tensor: Tensor) -> None:
            if given & _inputs_of(tensor):
                raise ExportError(f"which values are taken depends on {what}, and is another in every step", rewrite)

        return doubt

    by_parameters = of(carried, "the parameters", _OUTSIDE)
    by_chance = of(
        drawn | {_DRAWN}, "a random number", "choose by torch.where (LayerDrop in transformers: config.layerdrop = 0)"
    )

    def either(tensor: Tensor) -> None:
        by_chance(tensor)
        by_parameters(tensor)

    return either, by_chance


_OUTSIDE = (
    "choose by torch.where or a product with a mask; a matching of predictions: compute it outside of the step and "
    "give its pairs in the batch"
)


_DRAWN = -1
"""What stands for an operation that draws."""


def _inputs_of(tensor: Tensor) -> set[int]:
    """Numbers of the recording's inputs that a tensor depends on, and :data:`_DRAWN` where the step itself draws."""
    mode = get_proxy_mode()
    slot = None if mode is None else get_proxy_slot(tensor, mode.tracer, None)
    if slot is None:
        return set()
    node = slot.proxy.node
    inputs = {n: i for i, n in enumerate(n for n in node.graph.nodes if n.op == "placeholder")}
    found: set[int] = set()
    seen: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node.all_input_nodes)
            if node in inputs:
                found.add(inputs[node])
            elif str(node.target).startswith("aten.rand"):
                found.add(_DRAWN)
    return found


def _constant(operation: OpOverload[..., Any], doubt: Doubt) -> Callable[..., Any]:
    """An operation that is not recorded: what it gives is a constant."""

    def constant(*args: Any, **kwargs: Any) -> Any:
        for tensor in (a for a in args if isinstance(a, Tensor)):
            doubt(tensor)
        with disable_proxy_modes_tracing():
            return operation(*args, **kwargs)

    return constant


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Indices with the places of every mask in its stead, one index for each of its axes."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype not in _MASKS:
            found.append(index)
        else:
            found.extend(_aten.nonzero.default(index).unbind(1))
    return found


def specialised(table: Table, doubts: tuple[Doubt, Doubt]) -> dict[OpOverload[..., Any], Callable[..., Any]]:
    """A table of decompositions for a recording of real values.

    Args:
        table: That of all recordings.
        doubts: See :func:`doubts`.
    """
    places, numbers = doubts

    def index(x: Tensor, indices: Sequence[Tensor | None]) -> Any:
        return table[_aten.index.Tensor](x, _places(indices))

    def index_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, *more: Any) -> Any:
        if values.numel() != 1:
            indices = _places(indices)
        return table[_aten.index_put.default](x, indices, values, *more)

    def masked_select(x: Tensor, mask: Tensor) -> Any:
        x, mask = torch.broadcast_tensors(x, mask)
        return x.reshape(-1).index_select(0, _aten.nonzero.default(mask.reshape(-1)).squeeze(1))

    return {
        **table,
        **{operation: _constant(operation, places) for operation in _PLACES},
        **{operation: _constant(operation, numbers) for operation in _NUMBERS},
        _aten.index.Tensor: index,
        _aten.index_put.default: index_put,
        _aten.masked_select.default: masked_select,
    }


class _ToNumpy(TorchFunctionMode):
    def __init__(self, doubt: Doubt) -> None:
        super().__init__()
        self._doubt = doubt

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.numpy, Tensor.__array__) and isinstance(args[0], FunctionalTensor):
            torch._sync(args[0])  # type: ignore[attr-defined, no-untyped-call]
            value = torch._from_functional_tensor(args[0].elem)
            self._doubt(value)
            with _disable_current_modes():
                value = value.detach().clone()
            return func(value, *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def numbers_go_to_numpy(doubts: tuple[Doubt, Doubt]) -> Iterator[None]:
    """While entered, a tensor that is being recorded gives its values to NumPy."""
    with _ToNumpy(doubts[0]):
        yield
