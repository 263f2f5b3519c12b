"""Lists of tensors in a lifted graph, as ``tf.TensorArray``, ``tf.scan`` and the gradients of loops keep them.

A list has no tensor of its own in the lifted graph: it is known, element by element, while the graph is made. So its
length and every index must be known then too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from .building import Building

__all__ = ["TensorList", "UnknownError", "is_of_lists", "list_results"]


class UnknownError(Exception):
    """A length, an index or a shape is not known while the graph is made."""


@dataclass(frozen=True)
class TensorList:
    """A list of tensors.

    Attributes:
        items: Their names; None for one that nothing was written to, which reads as zeros.
        dtype: Their element type.
        shape: The tensor that says their shape, -1 for what is unknown.
    """

    items: tuple[str | None, ...]
    dtype: tf.DType
    shape: str


class _Call:
    """A list operation with the values of its inputs."""

    def __init__(self, building: Building, op: tf.Operation, name: str, values: Sequence[Any]) -> None:
        self.building, self.op, self.name, self.values = building, op, name, values

    @property
    def dtype(self) -> tf.DType:
        return tf.as_dtype(self.op.get_attr("element_dtype"))

    def given(self, index: int = 0) -> TensorList:
        value = self.values[index]
        if not isinstance(value, TensorList):
            raise UnknownError("a list that depends on a condition")
        return value

    def numbers(self, index: int) -> np.ndarray:
        """The whole numbers of an input."""
        (value,) = self.building.known([(self.values[index], self.op.inputs[index].dtype)])
        if value is None:
            raise UnknownError("a list's length or index that depends on values")
        return value

    def number(self, index: int) -> int:
        return int(self.numbers(index))

    def items(self, index: int = 0) -> list[str]:
        """The items of a list, zeros for those that nothing was written to."""
        found = self.given(index)
        written = next((item for item in found.items if item is not None), None)
        return [item if item is not None else self._zeros(found, written) for item in found.items]

    def _zeros(self, found: TensorList, like: str | None) -> str:
        if like is not None:
            return self.building.add("ZerosLike", f"{self.name}/zeros", [like], T=found.dtype)
        (shape,) = self.building.known([(found.shape, tf.int32)])
        sizes = [] if shape is None else np.atleast_1d(shape).tolist()
        if shape is None or any(size < 0 for size in sizes):
            sizes = self.op.outputs[0].shape.as_list() if self.op.outputs[0].shape.rank is not None else [None]
        if any(size is None for size in sizes):
            raise UnknownError("an element of unknown shape in a list")
        return self.building.constant(f"{self.name}/zeros", np.zeros(sizes), found.dtype)

    def slices(self, index: int) -> list[str]:
        """The slices of a tensor along its first axis."""
        tensor = self.op.inputs[index]
        count = tensor.shape[0] if tensor.shape.rank else None
        if count is None:
            count = self.building.shape_of(self.name, self.values[index], tensor.dtype)[0]
        return self.building.unpacked(f"{self.name}/items", self.values[index], count, tensor.dtype) if count else []

    def packed(self, items: Sequence[str], dtype: tf.DType) -> str:
        if items:
            return self.building.packed(self.name, items, dtype)
        shape = self.op.outputs[0].shape
        sizes = [0, *shape.as_list()[1:]] if shape.rank else [0]
        if any(size is None for size in sizes):
            raise UnknownError("an empty list of unknown shape")
        return self.building.constant(self.name, np.zeros(sizes), dtype)


_Made = tuple[Any, ...]


def _reserve(call: _Call) -> _Made:
    return (TensorList((None,) * call.number(1), call.dtype, call.values[0]),)


def _empty(call: _Call) -> _Made:
    return (TensorList((), call.dtype, call.values[0]),)


def _push(call: _Call) -> _Made:
    old = call.given()
    return (replace(old, items=(*old.items, call.values[1])),)


def _pop(call: _Call) -> _Made:
    old = call.given()
    return replace(old, items=old.items[:-1]), call.items()[-1]


def _set(call: _Call) -> _Made:
    old, place = call.given(), call.number(1)
    items = [*old.items, *[None] * (place + 1 - len(old.items))]
    items[place] = call.values[2]
    return (replace(old, items=tuple(items)),)


def _get(call: _Call) -> _Made:
    return (call.items()[call.number(1)],)


def _length(call: _Call) -> _Made:
    return (call.building.constant(call.name, len(call.given().items), tf.int32),)


def _element_shape(call: _Call) -> _Made:
    return (call.building.add("Cast", call.name, [call.given().shape], SrcT=tf.int32, DstT=call.op.outputs[0].dtype),)


def _stack(call: _Call) -> _Made:
    return (call.packed(call.items(), call.given().dtype),)


def _from_tensor(call: _Call) -> _Made:
    return (TensorList(tuple(call.slices(0)), call.dtype, call.values[1]),)


def _gather(call: _Call) -> _Made:
    items = call.items()
    return (call.packed([items[place] for place in call.numbers(1).tolist()], call.given().dtype),)


def _scatter(call: _Call) -> _Made:
    """TensorListScatter and -V2(tensor, indices, element shape, length), or into an existing list."""
    existing = call.op.type == "TensorListScatterIntoExistingList"
    old = call.given() if existing else TensorList((), call.dtype, call.values[2])
    tensor, places = (1, 2) if existing else (0, 1)
    where = call.numbers(places).tolist()
    slices = dict(zip(where, call.slices(tensor), strict=True))
    stated = call.number(3) if len(call.values) > 3 else 0
    count = max(len(old.items), stated, *(place + 1 for place in where), 0)
    items = [*old.items, *[None] * (count - len(old.items))]
    return (replace(old, items=tuple(slices.get(place, item) for place, item in enumerate(items))),)


def _resize(call: _Call) -> _Made:
    old, count = call.given(), call.number(1)
    items = (*old.items, *[None] * (count - len(old.items)))
    return (replace(old, items=items[:count]),)


def _concatenate(call: _Call) -> _Made:
    """TensorListConcatV2(list, element shape, leading dimensions) -> tensor, lengths."""
    items, dtype, building = call.items(), call.given().dtype, call.building
    lengths = [building.shape_of(call.name, item, dtype)[0] for item in items]
    axis = building.constant(f"{call.name}/axis", 0, tf.int32)
    made = building.add("ConcatV2", call.name, [*items, axis], T=dtype, Tidx=tf.int32)
    building.made.node[-1].attr["N"].i = len(items)
    return made, building.constant(f"{call.name}/lengths", np.array(lengths), tf.int64)


def _split(call: _Call) -> _Made:
    """TensorListSplit(tensor, element shape, lengths)."""
    lengths, dtype = call.numbers(2).tolist(), call.op.inputs[0].dtype
    sizes = call.building.constant(f"{call.name}/sizes", np.array(lengths), tf.int64)
    axis = call.building.constant(f"{call.name}/axis", 0, tf.int32)
    made = call.building.add("SplitV", call.name, [call.values[0], sizes, axis], T=dtype, Tlen=tf.int64)
    call.building.made.node[-1].attr["num_split"].i = len(lengths)
    items = tuple(f"{made.removesuffix(':0')}:{index}" for index in range(len(lengths)))
    return (TensorList(items, dtype, call.values[1]),)


def _zeros(call: _Call) -> _Made:
    old = call.given()
    return (replace(old, items=tuple(call.building.add("ZerosLike", f"{call.name}/zeros", [item], T=old.dtype)
                                     if item is not None else None for item in old.items)),)  # fmt: skip


def _sum(call: _Call) -> _Made:
    """AddN of lists: the sums of their items."""
    lists = [call.given(index) for index in range(len(call.values))]
    items: list[str | None] = []
    for each in zip(*(found.items for found in lists), strict=True):
        terms = [item for item in each if item is not None]
        total = terms[0] if terms else None
        for term in terms[1:]:
            total = call.building.add("AddV2", f"{call.name}/sum", [str(total), term], T=lists[0].dtype)
        items.append(total)
    return (replace(lists[0], items=tuple(items)),)


_HANDLERS: dict[str, Callable[[_Call], _Made]] = {
    "AddN": _sum,
    "EmptyTensorList": _empty,
    "TensorListConcatV2": _concatenate,
    "TensorListElementShape": _element_shape,
    "TensorListFromTensor": _from_tensor,
    "TensorListGather": _gather,
    "TensorListGetItem": _get,
    "TensorListLength": _length,
    "TensorListPopBack": _pop,
    "TensorListPushBack": _push,
    "TensorListReserve": _reserve,
    "TensorListResize": _resize,
    "TensorListScatter": _scatter,
    "TensorListScatterIntoExistingList": _scatter,
    "TensorListScatterV2": _scatter,
    "TensorListSetItem": _set,
    "TensorListSplit": _split,
    "TensorListStack": _stack,
    "ZerosLike": _zeros,
}


def is_of_lists(op: tf.Operation) -> bool:
    """Whether an operation makes a list or reads one."""
    if op.type in ("AddN", "ZerosLike"):
        return bool(op.outputs[0].dtype == tf.variant)
    return op.type in _HANDLERS


def list_results(building: Building, op: tf.Operation, name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """What an operation on lists makes: a value, the name of a tensor or a list, for each of its outputs.

    Args:
        building: The lifted graph.
        op: The operation.
        name: A name for what it adds.
        values: The values of its inputs.

    Raises:
        UnknownError: It depends on values that are not known.
    """
    return _HANDLERS[op.type](_Call(building, op, name, values))
