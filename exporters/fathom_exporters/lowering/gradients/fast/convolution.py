"""The convolutions and gradients of a training step for onnxruntime's CPU kernels: which form each has.

Over small images they are products with patches (:data:`PATCHES`), which are as exact as the direct forms. Of the
others some 3x3 ones are written by Winograd's algorithm, and of the rest some are products with views (:mod:`.views`),
as exact as the direct forms too.

A rule of costs compares the whole of a training step's convolution, forward and both gradients, with the direct forms
of :mod:`fathom_exporters.lowering.gradients.convolution`: the three share transforms, so that they have one form.

Winograd's algorithm leaves rounding where the direct forms give an exact zero, and a zero can matter:

* where an output is zero since all of its window is, ReLU's gradient is zero, and that of rounding is not. The output
  is multiplied by whether there is anything in its window (:func:`_occupied`);
* an element of the filter's gradient is zero where the input and dy never meet, as happens after ReLU in small batches.
  An optimizer that divides by the gradient's size, such as Adam, moves a weight by as much for rounding as for a
  gradient. Filter gradients are written directly, or with views.

Batch normalisation behind a convolution takes both away: it has no kink at zero, and its gradient takes a mean off, so
that dy is nowhere zero. There all three are written by Winograd's algorithm, and nothing is multiplied (:func:`mark`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.gradients import convolution
from fathom_exporters.lowering.values import known_shape, operands, static_shape
from fathom_exporters.lowering.window import Window

from .patches import Patches
from .views import Views, filter_by_views, forward_by_views
from .winograd import POINTS, Winograd

__all__ = ["COSTS", "PATCHES", "Form", "back_filter", "back_input", "by_patches", "form_of", "forward", "mark"]

COSTS = {"product": 1.0, "rows": 32, "transform": 1.3, "move": 0.6, "grouped move": 1.3, "weight": 2.2}
"""What Winograd's algorithm costs in onnxruntime, in units of a multiply-accumulate of the direct forms.

In this order: one of its products; the rows that each product costs beside those it has; a multiply-accumulate of the
transforms; an element that these write or read again, and one where tiles are in groups; an element of the transformed
filters. Measured on one thread of a busy machine with 2 cores, in turns: ms of forward and both gradients in the direct
forms, and the ratio of the others to it, the mean of those of minima and of medians; last what the rule takes.

===========================  ======  ====  ==============  =======
batch, channels, side        direct  F(2)  F(4) in groups  taken
===========================  ======  ====  ==============  =======
8, 64 to 64, 56              408           0.89, 7: 0.73   F(4), 7
8, 128 to 128, 28            269     1.00  0.65            F(4)
8, 256 to 256, 14            311     0.59  0.50            F(2)
8, 512 to 512, 7             480     0.58  0.53            F(2)
2, 64 to 64, 112             360           14: 0.91        F(4), 14
2, 256 to 256, 56            1196          0.51, 7: 0.46   F(4), 7
2, 512 to 512, 28            1452    0.59  0.37            F(4)
4, 128 to 256, 28            364     0.90  0.50            F(4)
2, 384 to 256, 13            122     0.63  0.72            F(2)
4, 256 to 256, 8             37      0.68  0.85            F(2)
4, 64 to 64, 16              3       0.86  0.53            F(2)
4, 32 to 32, 32              6       2.31  0.72, 4: 0.71   F(4), 4
32, 64 to 64, 9, no padding  14      0.91  0.35            F(4)
4, 512 to 512, 4             98      0.76  1.41            direct
2, 512 to 512, 2             37      1.11  2.65            direct
===========================  ======  ====  ==============  ======="""

PATCHES = {"positions": 16, "places": 0.25}
"""Where the products are over the patches of the whole batch (:mod:`.patches`): the most positions of an output, and
the most places of an input for each output channel, of which the part is that the products with S take. Measured on one
thread of a busy machine in turns, minima in ms of forward and both gradients in the direct forms, and the ratio to it:

========================================  ======  =======  ====  =======
batch, channels, side, kernel and stride  direct  patches  F(2)  taken
========================================  ======  =======  ====  =======
4, 512 to 512, 2, 3x3                     13.1    0.26     0.60  patches
4, 256 to 512, 4, 3x3/2                   6.7     0.27           patches
4, 256 to 512, 4, 1x1/2                   0.44    0.34           patches
2, 512 to 512, 4, 3x3                     10.5    0.49     0.81  patches
4, 256 to 256, 4, 3x3                     3.85    0.59     0.62  patches
4, 128 to 256, 8, 3x3/2                   1.95    0.68           patches
4, 128 to 256, 8, 1x1/2                   0.16    0.71           patches
2, 256 to 512, 8, 3x3                     18.5    0.58     0.37  F(2)
8, 512 to 512, 7, 3x3                     132     0.80     0.63  F(2)
2, 512 to 512, 8, 3x3                     41.5    0.98     0.77  F(2)
4, 64 to 128, 16, 1x1/2                   0.17    1.24           direct
4, 64 to 128, 16, 3x3/2                   1.57    1.43           direct
4, 128 to 128, 8, 3x3                     2.3     1.27     0.64  F(2)
4, 64 to 64, 16, 3x3                      2.58    5.8      0.78  F(2)
========================================  ======  =======  ====  ======="""

_BELOW = 0.9
"""Part of the direct forms' cost that a form must stay below to be taken."""
_BELOW_EXACT = 0.7
"""Part of the cost of F(2), and of the direct forms, that F(4) must stay below: its error is five times theirs, and
adds up over layers. In residual's TensorFlow graph at the small preset the gradient of the first filter was 5.9 times
as far off in float32 as TensorFlow's own where F(4) was taken without this, and is 1.5 times with F(2) throughout."""
_MOST_BYTES = 2**28
"""Largest transformed input, which a step keeps from the forward to the backward pass."""
_GROUPS = (1, 2, 4, 7, 8, 14, 28)
"""Numbers of groups of tiles along a side that are considered."""
_MANY_TILES = 8
"""Fewest tiles along a side for which groups are considered, with F(4) alone: else one product is the fastest."""


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


class Form(NamedTuple):
    """Outputs along a side of a tile, and groups of tiles along each side."""

    tile: int
    groups: tuple[int, int]


def _cost(x_shape: Sequence[int], y_shape: Sequence[int], form: Form, parts: int) -> float:
    """The cost of a form in multiply-accumulates of the direct forms.

    Args:
        x_shape: Of the input.
        y_shape: Of the output.
        form: The form.
        parts: 3 for forward and both gradients, 2 without the filter's.
    """
    batch, channels_in, *sizes = x_shape
    channels, *outs = y_shape[1:]
    elements = form.tile + 2
    tiles = [-(-out // form.tile) for out in outs]
    rows = elements**2 * (batch * tiles[0] * tiles[1] + COSTS["rows"])
    transforms = moves = 0.0
    for count, (height, width), reach in ((channels_in, sizes, 2), (channels, outs, 0)):
        spans = [
            side if groups == 1 else of_side // groups * form.tile + reach
            for side, groups, of_side in zip((height, width), form.groups, tiles, strict=True)
        ]
        made = [elements * of_side for of_side in tiles]
        of_rows, of_columns = made[0] * spans[0] * width, made[0] * made[1] * spans[1]
        transforms += 2 * batch * count * (of_rows + of_columns)
        moves += 2 * batch * count * (height * width + made[0] * width + 2 * made[0] * made[1])
    return (
        COSTS["product"] * parts * rows * channels * channels_in
        + COSTS["transform"] * transforms
        + COSTS["move" if form.groups == (1, 1) else "grouped move"] * moves
        + COSTS["weight"] * 2 * (parts - 1) * elements**2 * channels * channels_in
    )


@functools.cache
def _cheapest(x_shape: tuple[int, ...], y_shape: tuple[int, ...], parts: int) -> Form | None:
    direct = float(parts * 9 * x_shape[1] * math.prod(y_shape))
    best: dict[int, tuple[float, Form]] = {}
    for tile in POINTS:
        tiles = [-(-out // tile) for out in y_shape[2:]]
        if 4 * (tile + 2) ** 2 * tiles[0] * tiles[1] * x_shape[0] * max(x_shape[1], y_shape[1]) > _MOST_BYTES:
            continue
        grouped = [tile > 2 and n >= _MANY_TILES for n in tiles]
        choices = [
            [g for g in _GROUPS if g == 1 or (many and n % g == 0 and n // g > 1)]
            for n, many in zip(tiles, grouped, strict=True)
        ]
        forms = [Form(tile, (g, h)) for g in choices[0] for h in choices[1]]
        best[tile] = min((_cost(x_shape, y_shape, form, parts), form) for form in forms)
    exact = min(direct, best[2][0]) if 2 in best else direct
    if 4 in best and best[4][0] < _BELOW_EXACT * exact:
        return best[4][1]
    return best[2][1] if 2 in best and best[2][0] < _BELOW * direct else None


def form_of(x: ir.Value, y: ir.Value, window: Window, parts: int = 3) -> Form | None:
    """The form of a convolution, or None for the direct ones.

    Args:
        x: The input, or its gradient.
        y: The output, or its gradient.
        window: Of the convolution.
        parts: 3 where forward and both gradients have it, 2 without the filter's gradient.
    """
    shapes = known_shape(x), known_shape(y)
    one = all(n == 1 for n in (*window.strides, *window.dilations, window.group))
    if window.kernel != [3, 3] or not one or None in shapes or x.dtype != ir.DataType.FLOAT:
        return None
    x_shape, y_shape = shapes
    assert x_shape is not None
    assert y_shape is not None
    # windows that lie in the padding alone are for the direct forms, which know them
    if max(window.pads) > 2 or min(x_shape[2:]) < 3:
        return None
    return _cheapest(x_shape, y_shape, parts)


def by_patches(x: ir.Value, y: ir.Value, window: Window) -> bool:
    """Whether a convolution and its gradients are products over patches.

    Args:
        x: The input, or its gradient.
        y: The output, or its gradient.
        window: Of the convolution.
    """
    x_shape, y_shape = known_shape(x), known_shape(y)
    if window.group != 1 or x_shape is None or y_shape is None or x.dtype != ir.DataType.FLOAT:
        return False
    places, positions = math.prod(x_shape[2:]), math.prod(y_shape[2:])
    return positions <= PATCHES["positions"] and places <= PATCHES["places"] * y_shape[1]


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
    form = form_of(x, dy, window) if _NORMALISED in node.metadata_props else None
    if form is None and filter_by_views(x, dy, window):
        return [Views(b, window, static_shape(x), static_shape(dy)).back_filter(dy, x)]
    if form is None:
        return convolution.back_filter(b, node)
    return [_winograd(b, form, static_shape(x), static_shape(dy), window).back_filter(dy, x)]


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
