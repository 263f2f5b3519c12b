"""From TensorFlow's step statistics to the time of each operation, with its phase and layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow.translate.ops import CANONICAL_OF, MOVED_AWAY
from fathom_onnx.errors import RunError
from fathom_onnx.native import UNKNOWN, NativeOp, NativeStep, spent

__all__ = ["MERGED", "PLUMBING", "canonical_of_executed", "executed_type", "native_step"]

PLUMBING = frozenset({"AssignVariableOp", "ReadVariableOp", "VarHandleOp", "_Arg", "_Retval"})
"""Types that move tensors into a step and out of it."""

MERGED: dict[str, str] = {
    "_MklConv2DWithBias": "Conv2D",
    "_MklConv2DBackpropFilterWithBias": "Conv2DBackFilter",
    "_MklNativeConv2DWithBias": "Conv2D",
    "_MklNativeConv2DBackpropFilterWithBias": "Conv2DBackFilter",
    "_MklNativePadWithConv2D": "Conv2D",
    "_MklPadWithConv2D": "Conv2D",
}
"""Kernels that TensorFlow runs for two operations under the name of either, to the canonical op that takes the time."""

_KERNEL_PREFIXES = ("_MklNative", "_Mkl")
"""TensorFlow's prefixes of an operation's type when oneDNN runs it."""


def executed_type(label: str) -> str:
    """``_MklNativeConv2D`` for ``forward/conv1/Conv2D = _MklNativeConv2D(x, w)``."""
    name, sign, call = label.partition(" = ")
    return call.partition("(")[0] if sign else name


def canonical_of_executed(op_type: str) -> str:
    """The canonical op of an executed type that belongs to no operation of the step, or the type itself without one."""
    if op_type in MERGED:
        return MERGED[op_type]
    if op_type in PLUMBING or op_type in MOVED_AWAY:
        return "Identity"
    plain = next((op_type.removeprefix(p) for p in _KERNEL_PREFIXES if op_type.startswith(p)), op_type)
    return CANONICAL_OF.get(plain, op_type)


def _times(stats: Iterable[Any], tags: Mapping[str, Tag]) -> Iterator[tuple[NativeOp, float]]:
    """The operation of each node's statistics, and its microseconds."""
    for node in stats:
        kind = executed_type(node.timeline_label)
        tag = tags.get(node.node_name)
        us = (node.op_end_rel_nanos - node.op_start_rel_nanos) / 1e3
        if tag is None:
            yield NativeOp(canonical_of_executed(kind), kind, UNKNOWN, UNKNOWN), us
        else:
            yield NativeOp(MERGED.get(kind, tag.op), kind, tag.phase, tag.scope), us


def native_step(step_stats: Any, tags: Mapping[str, Tag], wall_us: float) -> NativeStep:
    """One step from its statistics.

    An operation's time is that of its kernel. The step lasts from when its first node is scheduled to when its last
    node is done.

    Args:
        step_stats: TensorFlow's ``StepStats``.
        tags: The tag of each node, by name.
        wall_us: Microseconds that the caller waited.

    Raises:
        RunError: The statistics are empty.
    """
    nodes = [node for device in step_stats.dev_stats for node in device.node_stats]
    if not nodes:
        raise RunError("TensorFlow traced no node of the step", "profile again")
    begin = min(node.all_start_nanos for node in nodes)
    end = max(node.all_start_nanos + node.all_end_rel_nanos for node in nodes)
    nodes.sort(key=lambda node: node.all_start_nanos + node.op_start_rel_nanos)
    return NativeStep(wall_us, (end - begin) / 1e3, spent(_times(nodes, tags)))
