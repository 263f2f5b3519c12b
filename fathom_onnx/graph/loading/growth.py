"""How much onnx's inference of shapes holds of a graph, at most: told by a walk, without inferring.

Inference keeps the dimensions of every tensor. Some operators make more of them than they take: a Gather of rank r by
rank r has rank 2r - 1, and thirty in a row are a file of a kB and a shape of 2^30 dimensions.

Where it follows values, it keeps the numbers of every list too, and takes any tensor with one axis for a list, of
whatever length: it has an entry for each of its elements as soon as an operator through which values are followed takes
it. A Concat of a list with itself has twice its numbers.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx.external_data_helper import uses_external_data

from fathom_onnx.graph.bodies import bodies

__all__ = ["FOLLOWED", "held_by_inference"]

FOLLOWED = {
    **dict.fromkeys(("Cast", "Size", "Squeeze", "Unsqueeze"), 1),
    **dict.fromkeys(("Add", "Gather", "Mul", "Sub"), 2),
    **{"Concat": None, "Shape": 0, "Slice": None},
}
"""Op type through which onnx follows values, to how many of its inputs are taken for lists; None for all of them."""

_SIZES = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "AffineGrid": 1, "Col2Im": 1, "Resize": 3}
"""Op type to the place of the input that lists the sizes of its result, or all of them but two."""

_USUAL_RANK = 4
"""What ops make whose results have a rank of their own; what grows beyond has been made by another."""

_UNKNOWN_RANK = 1024
"""Largest rank that onnx makes of a list of sizes whose values it does not know: its ``kMaxMaterializedRank``."""

_LARGEST_STEP = 2**20
"""Larger steps of a followed Slice overflow onnx's count, which then ends nowhere, or outside of the list."""

_FEW = 64
"""Numbers of a constant that are looked at one by one: axes and steps are few."""

_WHOLE: Mapping[int, str] = {onnx.TensorProto.INT64: "<i8", onnx.TensorProto.INT32: "<i4"}
"""Element types of lists whose values onnx knows, as numpy reads them."""

_Attributes = Mapping[str, onnx.AttributeProto]


class _Known(NamedTuple):
    """What is known of a tensor, at most.

    Attributes:
        rank: Its dimensions.
        numbers: What it has as a list; 0 where it is taken for none.
        values: The numbers, where it is a constant of a few; else None.
        followed: Whether its sizes are known by following alone, so that nothing is known of them here.
    """

    rank: int = 0
    numbers: float = 0
    values: tuple[int, ...] | None = None
    followed: bool = False


_NOTHING = _Known()


def held_by_inference(model: onnx.ModelProto, *, follow: bool) -> float:
    """Dimensions and numbers that inference holds, all together and at most; infinite where it may not end.

    Args:
        model: A model without functions, whose nodes stand in order; with the shapes that are inferred without
            following, to tell what is held with it.
        follow: Whether values are followed.
    """
    walk = _Walk(follow)
    walk.graph(model.graph, {})
    return walk.total


class _Walk:
    """Goes through all nodes in their order, and at a node through its bodies."""

    def __init__(self, follow: bool) -> None:
        self.follow = follow
        self.total = 0.0

    def graph(self, graph: onnx.GraphProto, known: MutableMapping[str, _Known]) -> list[_Known]:
        """Go through a graph or a body: what is known of its outputs.

        Args:
            graph: The graph.
            known: What is known of tensors around it; what is known of its own is added.
        """
        declared = {value.name: value.type for value in [*graph.input, *graph.value_info, *graph.output]}
        for value in graph.input:
            known[value.name] = _declared(known.get(value.name, _NOTHING), value.type)
            self.total += known[value.name].rank
        for tensor in graph.initializer:
            known[tensor.name] = _constant(tensor)
        for sparse in graph.sparse_initializer:
            known[sparse.values.name] = _Known(len(sparse.dims))
        for node in graph.node:
            given = [known.get(name, _NOTHING) for name in node.input]
            made = self._made(node, given, known)
            for name in node.output:
                known[name] = _declared(made, declared[name]) if name in declared else made
                self.total += known[name].rank
            if self.follow and node.op_type in FOLLOWED:
                self.total += sum(one.numbers for one in given[: FOLLOWED[node.op_type]]) + made.numbers
        return [known.get(value.name, _NOTHING) for value in graph.output]

    def _made(self, node: onnx.NodeProto, given: Sequence[_Known], known: MutableMapping[str, _Known]) -> _Known:
        """What is known of a node's results."""
        kind, attributes = node.op_type, {a.name: a for a in node.attribute}
        inner: list[_Known] = []
        for _, body in bodies(node):
            # a node hands its inputs on in other places: the largest rank stands for each
            handed = {value.name: _Known(_largest(given)) for value in body.input}
            inner += self.graph(body, ChainMap(handed, known))
        if inner:
            # results of all iterations stand side by side
            return _Known(_largest([*given, *inner]) + 1, followed=any(one.followed for one in [*given, *inner]))
        if kind == "Constant":
            return _value(attributes)
        if kind == "Split" and "num_outputs" in attributes:
            self.total += max(attributes["num_outputs"].i, 0)  # a list as long is made before it is refused
        if kind == "Slice" and self.follow and _may_not_end(given):
            self.total = math.inf
        followed = any(one.followed for one in given)
        if self.follow and kind in _SIZES:
            sizes = _at(given, _SIZES[kind])
            followed |= bool(sizes.numbers) and sizes.values is None
        rank = _rank(kind, given, attributes)
        return _Known(rank, _numbers(kind, given) if self.follow else 0, followed=followed)


def _declared(made: _Known, kind: onnx.TypeProto) -> _Known:
    """What is known of a tensor that is also declared."""
    while (which := kind.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = getattr(kind, which).elem_type
    if which != "tensor_type" or not kind.tensor_type.HasField("shape"):
        return made._replace(numbers=math.inf) if made.followed else made
    sizes = kind.tensor_type.shape.dim
    rank, numbers, followed = max(made.rank, len(sizes)), made.numbers, made.followed
    if all(size.HasField("dim_value") for size in sizes):
        rank, followed = len(sizes), False
    if len(sizes) == 1:
        numbers = max(numbers, math.inf if followed else sizes[0].dim_value)
    return _Known(rank, numbers, made.values, followed)


def _largest(several: Iterable[_Known]) -> int:
    return max((one.rank for one in several), default=0)


def _at(given: Sequence[_Known], place: int) -> _Known:
    return given[place] if place < len(given) else _NOTHING


def _constant(tensor: onnx.TensorProto) -> _Known:
    """What is known of a constant; onnx knows the values of lists of whole numbers, and of single ones."""
    rank = len(tensor.dims)
    kind = _WHOLE.get(tensor.data_type)
    length = tensor.dims[0] if rank == 1 else 0
    if rank > 1 or kind is None or uses_external_data(tensor):
        return _Known(rank, length)
    if not tensor.raw_data:
        return _listed(rank, [*tensor.int64_data, *tensor.int32_data], length)
    numbers = len(tensor.raw_data) // np.dtype(kind).itemsize
    return _listed(rank, np.frombuffer(tensor.raw_data, kind, min(numbers, _FEW + 1)).tolist(), max(numbers, length))


def _value(attributes: _Attributes) -> _Known:
    """What is known of a Constant's result."""
    if "value" in attributes:
        return _constant(attributes["value"].t)
    if "value_int" in attributes:
        return _listed(0, [attributes["value_int"].i])
    if "value_ints" in attributes:
        return _listed(1, attributes["value_ints"].ints)
    return _Known(1, len(attributes["value_floats"].floats) if "value_floats" in attributes else 0)


def _listed(rank: int, values: Sequence[int], numbers: int = 0) -> _Known:
    return _Known(rank, max(numbers, len(values)), tuple(values) if len(values) <= _FEW else None)


def _rank(kind: str, given: Sequence[_Known], attributes: _Attributes) -> int:
    """The rank of a node's results, at most."""
    first, second = _at(given, 0), _at(given, 1)
    if kind in _SIZES and kind != "Resize":
        sizes = _at(given, _SIZES[kind]).numbers
        rank = int(sizes) if 0 < sizes < math.inf else _UNKNOWN_RANK
        return max(rank + 2 * (kind == "Col2Im"), first.rank)
    if kind == "Gather":
        return max(first.rank + second.rank - 1, 0)
    if kind == "GatherND":
        return first.rank + second.rank
    if kind == "Unsqueeze":
        added = len(attributes["axes"].ints) if "axes" in attributes else second.numbers
        return first.rank + (int(added) if added < math.inf else 0)
    if kind == "Squeeze":
        axes = attributes["axes"].ints if "axes" in attributes else second.values or ()
        # one axis may be told twice, from both ends
        return max(first.rank - max(len({a for a in axes if a < 0}), len({a for a in axes if a >= 0})), 0)
    if kind in ("OneHot", "ConcatFromSequence", "StringSplit"):
        return _largest(given) + 1
    stated = len(attributes["shape"].ints) if "shape" in attributes else 0  # of what draws, and of the first Reshape
    equation = len(attributes["equation"].s) if "equation" in attributes else 0
    return max(_USUAL_RANK, _largest(given), stated, equation)


def _numbers(kind: str, given: Sequence[_Known]) -> float:
    """How many numbers are followed of a node's result, at most."""
    if kind == "Concat":
        return sum(one.numbers for one in given)
    if kind == "Shape":
        return _at(given, 0).rank
    if kind == "Size":
        return 1
    if kind == "Gather":
        return _at(given, 1).numbers if _at(given, 0).numbers else 0
    of = {"Add": 2, "Mul": 2, "Sub": 2}.get(kind, 1 if kind in FOLLOWED else 0)
    return max((one.numbers for one in given[:of]), default=0)


def _may_not_end(given: Sequence[_Known]) -> bool:
    """Whether a Slice takes steps through a list that are not known to be small."""
    data, steps = _at(given, 0), _at(given, 4)
    if not data.numbers or not steps.numbers:
        return False
    return steps.values is None or any(abs(step) > _LARGEST_STEP for step in steps.values)
