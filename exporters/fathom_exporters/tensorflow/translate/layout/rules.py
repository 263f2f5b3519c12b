"""What does the same in either layout, if its attributes are changed with it: the rules of layout-agnostic ops.

A rule looks at a node whose images have the channels last and says which inputs have its layout and what the node is
with the channels first, or None where that is not the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from fathom_exporters.lowering.values import constant_ints, known_shape

from .permutations import RANKS, permuted, to_first

__all__ = ["Agnostic", "agnostic"]

_POINTWISE = frozenset(
    """
    Abs Add And Atan Cast Ceil Clip Cos Div Elu Equal Erf Exp Floor Greater GreaterOrEqual HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Min Mish Mod Mul Neg Not Or Pow PRelu Reciprocal Relu Round
    Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
    ReluGrad ClipGrad SigmoidGrad TanhGrad SoftplusGrad
    """.split()  # noqa: SIM905
)
_KINDS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_REDUCTIONS = frozenset(f"Reduce{kind}" for kind in _KINDS)


@dataclass(frozen=True)
class Agnostic:
    """A node that does the same in either layout.

    Attributes:
        follow: Inputs that have the node's layout.
        aligned: Inputs of fewer axes, which broadcast.
        ints: Input to the whole numbers that it is with the channels first.
        attributes: Attributes with the channels first.
    """

    follow: tuple[int, ...]
    aligned: tuple[int, ...] = ()
    ints: dict[int, Sequence[int]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


_Rule = Callable[[ir.Node], "Agnostic | None"]


def _rank(value: ir.Value | None) -> int:
    shape = known_shape(value)
    return -1 if shape is None else len(shape)


def _axis(node: ir.Node, default: int, rank: int) -> int:
    """The attribute ``axis`` of a node with the channels first."""
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else default
    return to_first(rank).index(axis % rank)


def _broadcast(node: ir.Node, inputs: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The inputs that have all axes of the output, and those that have fewer; None where a shape is not known."""
    rank = _rank(node.outputs[0])
    follow, aligned = [], []
    for index in inputs:
        value = node.inputs[index]
        if value is None:
            continue
        shape = known_shape(value)
        if shape is None or len(shape) > rank:
            return None
        if len(shape) == rank:
            follow.append(index)
        elif any(size != 1 for size in shape):
            aligned.append(index)
    return tuple(follow), tuple(aligned)


def _pointwise(node: ir.Node) -> Agnostic | None:
    count = 1 if node.op_type == "Clip" else len(node.inputs)
    operands = _broadcast(node, range(count))
    return Agnostic(*operands) if operands is not None and operands[0] else None


def _reduction(node: ir.Node) -> Agnostic | None:
    axes, rank = constant_ints(node, 1), _rank(node.inputs[0])
    if axes is None or rank not in RANKS:
        return None
    reduced = {axis % rank for axis in axes}
    first = sorted(to_first(rank).index(axis) for axis in reduced)
    if "keepdims" not in node.attributes or node.attributes["keepdims"].as_int():
        return Agnostic((0,), ints={1: first})
    last_left = [axis for axis in range(rank) if axis not in reduced]
    first_left = [axis for axis in to_first(rank) if axis not in reduced]
    if len(last_left) in RANKS:
        last_left = permuted(last_left, to_first(len(last_left)))
    return Agnostic((0,), ints={1: first}) if last_left == first_left else None


def _concat(node: ir.Node) -> Agnostic | None:
    return Agnostic(tuple(range(len(node.inputs))), attributes={"axis": _axis(node, 0, _rank(node.outputs[0]))})


def _along_axis(node: ir.Node) -> Agnostic | None:
    default = {"Softmax": -1, "LogSoftmax": -1, "Split": 0}[node.op_type]
    return Agnostic((0,), attributes={"axis": _axis(node, default, _rank(node.inputs[0]))})


def _gather(node: ir.Node) -> Agnostic | None:
    rank = _rank(node.inputs[0])
    if _rank(node.inputs[1]) != 1 or rank not in RANKS:
        return None
    return Agnostic((0,), attributes={"axis": _axis(node, 0, rank)})


def _cumsum(node: ir.Node) -> Agnostic | None:
    axis, rank = constant_ints(node, 1), _rank(node.inputs[0])
    if axis is None or known_shape(node.inputs[1]) != (1,):
        return None
    return Agnostic((0,), ints={1: [to_first(rank).index(axis[0] % rank)]})


def _slice(node: ir.Node) -> Agnostic | None:
    rank, starts, ends, axes = _rank(node.inputs[0]), *(constant_ints(node, index) for index in (1, 2, 3))
    if starts is not None and ends is not None and len(node.inputs) == 3 and len(starts) == rank:
        perm = to_first(rank)
        return Agnostic((0,), ints={1: permuted(starts, perm), 2: permuted(ends, perm)})
    if axes is None:
        return None
    return Agnostic((0,), ints={3: [to_first(rank).index(axis % rank) for axis in axes]})


def _pad(node: ir.Node) -> Agnostic | None:
    rank, pads = _rank(node.inputs[0]), constant_ints(node, 1)
    if pads is None or len(node.inputs) > 3:
        return None
    perm = to_first(rank)
    return Agnostic((0,), ints={1: [*permuted(pads[:rank], perm), *permuted(pads[rank:], perm)]})


def _expand(node: ir.Node) -> Agnostic | None:
    shape, operands = known_shape(node.outputs[0]), _broadcast(node, [0])
    if shape is None or operands is None:
        return None
    return Agnostic(*operands, ints={1: permuted(shape, to_first(len(shape)))})


def _tile(node: ir.Node) -> Agnostic | None:
    repeats, rank = constant_ints(node, 1), _rank(node.inputs[0])
    if repeats is None or rank not in RANKS:
        return None
    return Agnostic((0,), ints={1: permuted(repeats, to_first(rank))})


def _reshape(node: ir.Node) -> Agnostic | None:
    """A reshape that leaves the batch and the channels as they are."""
    before, after = known_shape(node.inputs[0]), known_shape(node.outputs[0])
    if before is None or after is None or len(before) not in RANKS or constant_ints(node, 1) is None:
        return None
    if (before[0], before[-1]) != (after[0], after[-1]):
        return None
    return Agnostic((0,), ints={1: permuted(after, to_first(len(after)))})


def _slice_grad(node: ir.Node) -> Agnostic | None:
    rank = _rank(node.outputs[0])
    perm = to_first(rank)
    names = ("input_shape", "starts")
    return Agnostic((0,), attributes={n: permuted(node.attributes[n].as_ints(), perm) for n in names})


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "Concat": _concat,
    "CumSum": _cumsum,
    "Expand": _expand,
    "Gather": _gather,
    "LogSoftmax": _along_axis,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SliceGrad": _slice_grad,
    "Softmax": _along_axis,
    "Split": _along_axis,
    "Tile": _tile,
}
"""Op, standard or canonical, to its rule."""


def agnostic(node: ir.Node) -> Agnostic | None:
    """How a node with images does the same in either layout; None where it does not."""
    rule = _RULES.get(node.op_type)
    if rule is None:
        return None
    if any(_rank(value) not in RANKS for value in node.outputs) and node.op_type not in _REDUCTIONS:
        return None
    found = rule(node)
    # every input that follows is an image
    if found is None or any(_rank(node.inputs[index]) not in RANKS for index in found.follow):
        return None
    return found
