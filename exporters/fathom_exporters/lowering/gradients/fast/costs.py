"""What Winograd's algorithm costs, and which of its forms a convolution has.

The whole of a training step's convolution, forward and both gradients, is compared with the direct forms of
:mod:`fathom_exporters.lowering.gradients.convolution`: the three share transforms, so that they have one form.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import onnx_ir as ir

from fathom_exporters.lowering.values import known_shape
from fathom_exporters.lowering.window import Window

from .winograd import POINTS

__all__ = ["COSTS", "Form", "form_of"]

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
