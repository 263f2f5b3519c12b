"""Max pools of volumes in float64, which TensorFlow has no operation for, as functions of other operations.

In float32 two elements of a window can be equal that are not in float64, and the gradient then goes to another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import tensorflow as tf

__all__ = ["POOLS", "pool_function"]

POOLS = ("MaxPool3D", "MaxPool3DGrad")
"""The operations that have a function."""


def pool_function(node: Any, name: str) -> Any:
    """The definition of a function that is such a node in float64, with its inputs and its output's name."""
    channels_first = node.attr["data_format"].s == b"NCDHW"
    sides = slice(2, 5) if channels_first else slice(1, 4)
    kernel, strides = (list(node.attr[key].list.i)[sides] for key in ("ksize", "strides"))
    same = node.attr["padding"].s == b"SAME"

    def pooled(x: tf.Tensor) -> tf.Tensor:
        last = tf.transpose(x, [0, 2, 3, 4, 1]) if channels_first else x
        y = _pooled(last, kernel, strides, same)
        return tf.transpose(y, [0, 4, 1, 2, 3]) if channels_first else y

    def gradient(x: tf.Tensor, y: tf.Tensor, dy: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = pooled(x)
        return {"output": tape.gradient(made, x, dy)}

    volume = tf.TensorSpec([None] * 5, tf.float64)
    function = tf.function(gradient if node.op == "MaxPool3DGrad" else lambda x: {"output": pooled(x)}, autograph=False)
    made = function.get_concrete_function(*[volume] * (3 if node.op == "MaxPool3DGrad" else 1))
    definition = tf.compat.v1.GraphDef().library.function.add()
    definition.CopyFrom(made.function_def)
    definition.signature.name = name
    return definition


def _pooled(x: tf.Tensor, kernel: Sequence[int], strides: Sequence[int], same: bool) -> tf.Tensor:
    """The first largest element of each window of x [N, D, H, W, C]."""
    sizes = tf.unstack(tf.shape(x)[1:4])
    counts, pads = [], []
    for size, width, step in zip(sizes, kernel, strides, strict=True):
        if same:
            count = (size + step - 1) // step
            needed = tf.maximum((count - 1) * step + width - size, 0)
            pads.append([needed // 2, needed - needed // 2])
        else:
            count = (size - width) // step + 1
            pads.append([0, 0])
        counts.append(count)
    lowest = tf.constant(float("-inf"), x.dtype)
    padded = tf.pad(x, [[0, 0], *pads, [0, 0]], constant_values=lowest)
    parts = []
    for offsets in product(*(range(width) for width in kernel)):
        cut = [
            slice(offset, offset + (count - 1) * step + 1, step)
            for offset, count, step in zip(offsets, counts, strides, strict=True)
        ]
        parts.append(padded[:, cut[0], cut[1], cut[2], :])
    windows = tf.stack(parts)
    chosen = tf.one_hot(tf.argmax(windows, 0), len(parts), on_value=True, off_value=False, axis=0, dtype=tf.bool)
    return tf.reduce_sum(tf.where(chosen, windows, tf.zeros_like(windows)), 0)
