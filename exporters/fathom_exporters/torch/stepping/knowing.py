"""Values that are known while a step is recorded, so that Python can read them.

A recording computes on tensors without values. Most of what a model reads in Python depends on no input: constants that
it makes, numbers made of shapes, buffers that no step changes. :class:`Known` computes these beside the recording, and
answers from them. Whatever depends on an input is unknown, unless the inputs of an example are given, to record the
step as it is for that one. Random draws are unknown in any case.
"""

from __future__ import annotations

import contextlib
import functools
import math
import unittest.mock
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from fathom_onnx.errors import ExportError
from fathom_onnx.recipes.blame import calling_line

__all__ = ["Known"]

_LARGEST = 2**22
"""Elements up to which a value is computed that depends on no input."""

_READERS = (
    (Tensor, "__array__"),
    (Tensor, "__format__"),
    (Tensor, "numpy"),
    (FakeTensor, "tolist"),
    (FunctionalTensor, "tolist"),
)
"""Methods of tensors that read values and are no operation."""

_aten = torch.ops.aten

_BY_BATCH, _BY_STATE = 1, 2
"""Marks of what a value depends on besides constants."""

_INDEXED = (
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._unsafe_index_put.default,
    _aten._index_put_impl_.default,
)
"""Operations whose second argument is a list of indices, masks among them."""

_MASKED = (_aten.masked_select.default, _aten.masked_scatter.default, _aten.masked_scatter_backward.default)
"""Operations whose second argument is a mask, and whose shapes or places depend on its values."""

_Value = tuple[Tensor, int]
"""A value, and marks of what it depends on."""


class Known(TorchDispatchMode):
    """While entered, operations whose arguments are all known give known results; numbers are read from those.

    Args:
        state: Names of tensors that each step changes. What is read of an example's values of these can be a number,
            and says nothing else where it is an assertion; it cannot be a choice of rows.

    Attributes:
        notes: What was read that depends on the example, a line each.
    """

    def __init__(self, state: frozenset[str] = frozenset()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._state = state
        self._values: Any = WeakTensorKeyDictionary()
        self._changed: Any = WeakTensorKeyDictionary()
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was read that depends on the example, a line each."""
        return tuple(self._notes)

    def values_of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is known of tensors, by name."""
        found = {name: self._values.get(tensor) for name, tensor in tensors.items()}
        return {name: value[0] for name, value in found.items() if value is not None}

    @contextlib.contextmanager
    def of(
        self, tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor], example: Mapping[str, Tensor]
    ) -> Iterator[None]:
        """While entered, tensors have the values of the same names.

        Args:
            tensors: Tensors of the step.
            constants: Values that are the same in every step.
            example: Values of inputs.
        """
        for name, tensor in tensors.items():
            value = example.get(name, constants.get(name))
            if value is not None and _is_real(value):
                with no_dispatch():
                    mark = (_BY_STATE if name in self._state else _BY_BATCH) if name in example else 0
                    self._values[tensor] = value.detach().clone(), mark
        with contextlib.ExitStack() as stack:
            readers = [
                (kind, name, self._reading(getattr(kind, name), getattr(Tensor, name))) for kind, name in _READERS
            ]
            for kind, name, reader in readers:
                stack.enter_context(unittest.mock.patch.object(kind, name, reader))
            yield stack.enter_context(self)

    def _reading(self, own: Callable[..., Any], of_real: Callable[..., Any]) -> Callable[..., Any]:
        """A method that reads values, of known ones; ``of_real`` is that of a tensor that has them."""

        @functools.wraps(own)
        def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            found = self._value(tensor)
            if found is None:
                if type(tensor) is not Tensor and own.__name__ != "__format__":
                    raise DataDependentOutputException(_aten._local_scalar_dense.default)
                return own(tensor, *args, **kwargs)
            value, by = found
            if value.dim():
                self._choose(by, f"the values of a tensor of shape {list(value.shape)}")
            else:
                self._note(by, "the value of a tensor")
            with no_dispatch():
                return of_real(value, *args, **kwargs)

        return read

    def _note(self, by: int, what: str) -> None:
        if by:
            self._notes[f"{calling_line()}: {what}"] = None

    def _choose(self, by: int, what: str) -> None:
        """Note what chooses elements.

        Raises:
            ExportError: It is another in every step.
        """
        if by & _BY_STATE:
            place = calling_line()
            raise ExportError(
                f"which values are taken{f' at {place}' if place else ''} depends on the parameters, and is another in "
                "every step",
                "choose by torch.where or a product with a mask; a matching of predictions: outside of the step, its "
                "pairs in the batch",
            )
        self._note(by, what)

    def _value(self, tensor: Tensor) -> _Value | None:
        found: _Value | None = self._values.get(tensor)
        if found is None and type(tensor) is Tensor and _is_real(tensor) and tensor not in self._changed:
            return tensor, 0  # one that the model holds, and not as a buffer
        return found

    def _forget(self, tensors: Iterable[Tensor]) -> None:
        """Known tensors are given unknown elements: nothing is known of what shares their memory."""
        for tensor in tensors:
            found = self._values.get(tensor)
            if found is None:
                self._changed[tensor] = True
                continue
            memory = found[0].untyped_storage().data_ptr()
            for other in [t for t, (v, _) in self._values.items() if v.untyped_storage().data_ptr() == memory]:
                del self._values[other]

    def _computed(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operation gives for known values; None where it does not run on its own."""
        values = tree_map(lambda x: self._value(x)[0] if isinstance(x, Tensor) else x, (args, kwargs))  # type: ignore[index]
        try:
            with no_dispatch(), torch.no_grad():
                return func(*values[0], **values[1])
        except (RuntimeError, NotImplementedError):
            return None

    def _constant(self, value: Any) -> Any:
        """A tensor of the recording that has a value whatever the inputs are."""
        if not isinstance(value, Tensor):
            return value
        made = _aten.lift_fresh.default(value)
        self._values[made] = value, 0
        return made

    def _places(self, indices: Iterable[Any]) -> list[Any]:
        """Known masks among indices as the places of their elements."""
        made: list[Any] = []
        for index in indices:
            found = self._value(index) if isinstance(index, Tensor) and index.dtype == torch.bool else None
            if found is None:
                made.append(index)
                continue
            self._choose(found[1], "the places where a mask is true")
            with no_dispatch():
                places = found[0].nonzero(as_tuple=True)
            made += map(self._constant, places)
        return made

    def _by_places(self, func: OpOverload[..., Any], x: Tensor, mask: Tensor, *more: Any) -> Tensor:
        """An operation with a known mask as one with the places where it is true, in order of memory."""
        found = self._value(mask)
        assert found is not None
        self._choose(found[1], "the places where a mask is true")
        shape = torch.broadcast_shapes(x.shape, mask.shape)
        with no_dispatch():
            where = found[0].expand(shape).reshape(-1).nonzero().squeeze(1)
        places, flat = self._constant(where), x.expand(shape).reshape(-1)
        if func is _aten.masked_scatter.default:
            return flat.index_put((places,), more[0].reshape(-1)[: len(where)]).reshape(shape)
        taken = flat[places]
        if func is _aten.masked_scatter_backward.default:
            return torch.cat([taken, taken.new_zeros(math.prod(more[0]) - len(where))]).reshape(more[0])
        return taken

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            return func(*args, **kwargs)
        run: Callable[..., Any] = func
        if func in _INDEXED:
            args = (args[0], self._places(args[1]), *args[2:])
        elif func in _MASKED and self._value(args[1]) is not None:
            run = functools.partial(self._by_places, func)
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        found = [self._value(x) for x in given]
        changes = func._schema.is_mutable
        known = all(v is not None for v in found) and not (changes and any(x not in self._values for x in given))
        if not known or torch.Tag.nondeterministic_seeded in func.tags:
            self._forget(_written(func, args, kwargs))
            return run(*args, **kwargs)
        by = functools.reduce(int.__or__, (v[1] for v in found if v is not None), 0)
        by_value = torch.Tag.dynamic_output_shape in func.tags and func not in (*_INDEXED, *_MASKED)
        if by_value or not _gives_tensors(func):
            result = self._computed(func, args, kwargs)
            if result is not None:
                if by_value:
                    self._choose(by, f"{func} gives places or counts")
                else:
                    self._note(by, f"the value {result}")
                return tree_map(self._constant, result)
        out = run(*args, **kwargs)
        leaves = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if by or sum(x.numel() for x in leaves) <= _LARGEST:
            result = [x for x in tree_leaves(self._computed(func, args, kwargs)) if isinstance(x, Tensor)]
            self._values.update((x, (value, by)) for x, value in zip(leaves, result, strict=False))
        return out


def _is_real(tensor: Tensor) -> bool:
    """Whether a tensor has values."""
    return type(tensor) in (Tensor, torch.nn.Parameter, torch.nn.Buffer) and tensor.device.type != "meta"


def _written(func: OpOverload[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The arguments that an operation changes, running statistics of a batch normalisation among them."""
    written = list(args[3:5]) if "batch_norm" in str(func) else []
    for position, argument in enumerate(func._schema.arguments if func._schema.is_mutable else ()):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written.append(args[position] if position < len(args) else kwargs.get(argument.name))
    return [x for x in tree_leaves(written) if isinstance(x, Tensor)]


def _gives_tensors(func: OpOverload[..., Any]) -> bool:
    return all("Tensor" in str(result.type) for result in func._schema.returns)
