"""Reductions of sorted segments, whose result has as many rows as there are segments: with a number that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from .building import Building

__all__ = ["SEGMENTS", "segments"]

SEGMENTS = {
    "SegmentSum": "UnsortedSegmentSum",
    "SegmentSumV2": "UnsortedSegmentSum",
    "SegmentMean": "UnsortedSegmentSum",
    "SegmentMax": "UnsortedSegmentMax",
    "SegmentMaxV2": "UnsortedSegmentMax",
    "SegmentMin": "UnsortedSegmentMin",
    "SegmentMinV2": "UnsortedSegmentMin",
    "SegmentProd": "UnsortedSegmentProd",
    "SegmentProdV2": "UnsortedSegmentProd",
}
"""Reduction of sorted segments to the one that is told their number."""


def segments(building: Building, op: tf.Operation, name: str, values: Sequence[str]) -> str | None:
    """The reduction with the number of segments; None where that, or the numbers of the segments, are not known.

    Args:
        building: The lifted graph.
        op: The operation.
        name: A name for what is added.
        values: The values of its inputs.
    """
    data, ids = op.inputs[:2]
    (known,) = building.known([(values[1], ids.dtype)])
    if known is None or not known.size:
        return None
    rows = int(known.max()) + 1
    counts = np.bincount(known.ravel(), minlength=rows)
    number = building.constant(f"{name}/rows", rows, tf.int32)
    types = {"T": data.dtype, "Tindices": ids.dtype, "Tnumsegments": tf.int32}
    made = building.add(SEGMENTS[op.type], name, [values[0], values[1], number], **types)
    rank = data.shape.rank
    over = counts.reshape([rows, *[1] * ((rank or 1) - 1)])
    if op.type == "SegmentMean":
        share = building.constant(f"{name}/counts", np.maximum(over, 1), data.dtype)
        return building.add("RealDiv", f"{name}/mean", [made, share], T=data.dtype)
    if op.type.startswith(("SegmentMax", "SegmentMin")) and not counts.all():  # a segment of nothing is 0
        some = building.constant(f"{name}/some", over > 0, tf.bool)
        nothing = building.constant(f"{name}/nothing", 0, data.dtype)
        return building.select(name, some, made, nothing, data.dtype)
    return made
