"""Rows added by index, a few columns at a time.

onnxruntime's ScatterElements takes an index for each element. Where updates have many columns it takes several times
as long an element as where they have few; the same elements a few columns at a time are the same sums, in the same
order. In ms on one thread of a busy machine, minima of eight (rows n, rows of the result V, columns D):

===================  ========  =========  ==========  ==========
n, V, D              at once   8 columns  16 columns  32 columns
===================  ========  =========  ==========  ==========
13566, 2709, 64      44        13         20          42
30976, 5632, 128     275       94         148         154
640, 2000, 768       13        10         11          4
4096, 8, 64          1.8       1.0        1.0         1.2
2048, 1000, 64       0.66      0.51       0.55        0.63
===================  ========  =========  ==========  ==========

ScatterND, which takes an index for each row, takes 0.3 ms for the first of them, but it adds rows on several threads
without a lock: on two threads, sums of 100,000 rows of 512 into 3 were wrong in 6 runs of 15 (onnxruntime 1.31).
"""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import known_shape, standard_producer

__all__ = ["COLUMNS", "MOST_PARTS", "WIDEST", "SplitWideScatters"]

WIDEST = 1 << 18
"""Elements of updates up to which they are scattered at once."""

COLUMNS = 8
"""Columns that are scattered at a time, where that makes no more parts than :data:`MOST_PARTS`."""

MOST_PARTS = 16
"""Most parts of a scatter."""


class SplitWideScatters(ir.passes.InPlacePass):
    """A ScatterElements of many elements, whose columns have the same indices, is written as several and a Concat."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        b = Builder(graph, "scattered")
        modified = False
        for node in list(graph):
            if node.op_type != "ScatterElements" or node.domain:
                continue
            b.begin(Tag.of(node))
            made = _parts(b, node)
            if made is None:
                continue
            b.replace(node, made)
            modified = True
        return ir.passes.PassResult(model, modified)


def _parts(b: Builder, node: ir.Node) -> ir.Value | None:
    """The result of a scatter from its parts, or None where it stays as it is."""
    data, _, updates = node.inputs
    expand = standard_producer(node, "Expand", 1)
    rows, whole = known_shape(updates), known_shape(data)
    index = expand.inputs[0] if expand is not None else None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    if data is None or updates is None or index is None or rows is None or whole is None or len(rows) < 2:
        return None
    count, columns = rows[0], math.prod(rows[1:])
    one_a_row = known_shape(index) == (count, *[1] * (len(rows) - 1))
    width = max(COLUMNS, -(-columns // MOST_PARTS))
    if axis or not one_a_row or count * columns <= WIDEST or columns <= width:
        return None
    sizes = [width] * (columns // width) + [columns % width] * (columns % width > 0)
    given = [b.reshape(value, size, columns) for value, size in ((data, whole[0]), (updates, count))]
    parts = [b.ops("Split", value, b.ints(*sizes), outputs=len(sizes), axis=1) for value in given]
    places = b.reshape(index, count, 1)
    wide = {size: b.op("Expand", places, b.ints(count, size)) for size in dict.fromkeys(sizes)}
    reduction = node.attributes["reduction"].as_string() if "reduction" in node.attributes else "none"
    scattered = [
        b.op("ScatterElements", start, wide[size], added, axis=0, reduction=reduction)
        for start, added, size in zip(*parts, sizes, strict=True)
    ]
    return b.reshape(b.op("Concat", *scattered, axis=1), *whole)
