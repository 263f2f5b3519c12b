"""The convolutions and gradients of a training step for onnxruntime's CPU kernels: which form each has.

Over small images they are products with patches (:mod:`.patches`), which are as exact as the direct forms. Of the
others some 3x3 ones are written by Winograd's algorithm (:mod:`.costs`), and of the rest some are products with views
(:mod:`.views`), as exact as the direct forms too. What is left is direct.

Winograd's algorithm leaves rounding where the direct forms give an exact zero, and a zero can matter:

* where an output is zero since all of its window is, ReLU's gradient is zero, and that of rounding is not. The output
  is multiplied by whether there is anything in its window (:func:`_occupied`);
* an element of the filter's gradient is zero where the input and dy never meet, as happens after ReLU in small batches.
  An optimizer that divides by the gradient's size, such as Adam, moves a weight by as much for rounding as for a
  gradient. Filter gradients are products of shifted tensors (:mod:`.shifts`) or with views.

Batch normalisation behind a convolution takes both away: it has no kink at zero, and its gradient takes a mean off, so
that dy is nowhere zero. There all three are written by Winograd's algorithm, and nothing is multiplied (:func:`mark`).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.gradients import convolution
from fathom_exporters.lowering.values import operands, static_shape
from fathom_exporters.lowering.window import Window

from .costs import Form, form_of
from .patches import Patches, by_patches
from .shifts import Shifts, filter_by_shifts
from .views import Views, filter_by_views, forward_by_views
from .winograd import Winograd

__all__ = ["back_filter", "back_input", "forward", "mark"]

_NORMALISED = "fathom.normalised"
"""Metadata key of a convolution, and of its gradients, behind which there is a batch normalisation."""


_LAYOUT = ("Transpose", "Identity")
"""What may stand between a convolution and its normalisation where images have their channels last."""


def _users(value: ir.Value) -> list[ir.Node]:
    users = [user for user, _ in value.uses()]
    return [found for u in users for found in (_users(u.outputs[0]) if u.op_type in _LAYOUT else [u])]


def _producer(value: ir.Value | None) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return _producer(producer.inputs[0]) if producer is not None and producer.op_type in _LAYOUT else producer


def mark(graph: ir.Graph) -> None:
    """Mark the convolutions and gradients whose output is normalised, while the canonical ops are there to tell."""
    for node in graph:
        if node.op_type == "Conv" and not node.domain:
            users = _users(node.outputs[0])
            normalised = bool(users) and all(user.op_type in ("BatchNormTraining", "BatchNormGrad") for user in users)
        elif node.op_type in ("Conv2DBackFilter", "Conv2DBackInput"):
            producer = _producer(node.inputs[0])
            normalised = producer is not None and producer.op_type == "BatchNormGrad"
        else:
            continue
        if normalised:
            node.metadata_props[_NORMALISED] = "1"


def _parts(node: ir.Node) -> int:
    return 3 if _NORMALISED in node.metadata_props else 2


def _never_negative(x: ir.Value) -> bool:
    producer = _producer(x)
    if producer is not None and producer.op_type == "MaxPool":
        producer = _producer(producer.inputs[0])
    return producer is not None and producer.op_type == "Relu" and not producer.domain


def _occupied(b: Builder, x: ir.Value, window: Window) -> ir.Value:
    """1 where a window over x has anything but zeros, else 0, as [N, 1, OH, OW]."""
    size = x if _never_negative(x) else b.op("Abs", x)
    most = b.op("ReduceMax", size, b.ints(1), keepdims=1)
    return b.op("Sign", b.op("MaxPool", most, **window.attributes))


def _winograd(b: Builder, form: Form, x_shape: Sequence[int], y_shape: Sequence[int], window: Window) -> Winograd:
    return Winograd(b, form.tile, x_shape, y_shape, window.starts, form.groups)


def forward(b: Builder, node: ir.Node) -> list[ir.Value] | None:
    """A Conv with x [N, C, H, W], w [O, C, 3, 3] and perhaps a bias [O], or None where its form is direct."""
    x, w, *rest = operands(node)
    y = node.outputs[0]
    window = Window.of_standard(node, static_shape(w)[2:])
    if window is None:
        return None
    if by_patches(x, y, window):
        return [Patches(b, window, static_shape(x), static_shape(y)).forward(x, w, rest[0] if rest else None)]
    form = form_of(x, y, window, _parts(node))
    if form is None and forward_by_views(x, y, window):
        return [Views(b, window, static_shape(x), static_shape(y)).forward(x, w, rest[0] if rest else None)]
    if form is None:
        return None
    made = _winograd(b, form, static_shape(x), static_shape(y), window)
    occupied = None if _NORMALISED in node.metadata_props else _occupied(b, x, window)
    return [made.forward(x, w, rest[0] if rest else None, occupied)]


def back_filter(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackFilter: dy [N, O, *out], x [N, C, *size] -> dw [O, C/group, *kernel]."""
    dy, x = operands(node)
    window = Window(node)
    if by_patches(x, dy, window):
        return [Patches(b, window, static_shape(x), static_shape(dy)).back_filter(dy, x)]
    shapes = static_shape(x), static_shape(dy)
    form = form_of(x, dy, window, _parts(node))
    if form is not None and _NORMALISED in node.metadata_props:
        return [_winograd(b, form, *shapes, window).back_filter(dy, x)]
    if form is not None and filter_by_shifts(x, dy, window):
        return [Shifts(b, window, *shapes).back_filter(dy, x)]
    if filter_by_views(x, dy, window, channels_last=form is not None):
        return [Views(b, window, *shapes).back_filter(dy, x)]
    return convolution.back_filter(b, node)


def back_input(b: Builder, node: ir.Node) -> list[ir.Value]:
    """Conv2DBackInput: dy [N, O, *out], w [O, C/group, *kernel] -> dx [N, C, *size]."""
    dy, w = operands(node)
    window = Window(node)
    dx = node.outputs[0]
    if by_patches(dx, dy, window):
        return [Patches(b, window, static_shape(dx), static_shape(dy)).back_input(dy, w)]
    form = form_of(dx, dy, window, _parts(node))
    if form is None:
        # a convolution copies what each of its windows reads, a transposed one what it writes
        return convolution.back_input(b, node, may_flip=static_shape(dy)[1] <= static_shape(dx)[1])
    return [_winograd(b, form, static_shape(dx), static_shape(dy), window).back_input(dy, w)]
