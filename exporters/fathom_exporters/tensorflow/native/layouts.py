"""Variables in the layout that TensorFlow's kernels take, where the workload has another one.

A model reads a filter in the workload's layout (OIHW) and transposes it for the kernel (HWIO). A user's model has the
filter in the kernel's layout, and no such transposition. Here a variable that is only ever read through one permutation
is kept permuted, and the permutation of its gradient goes the same way.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

__all__ = ["Permutation", "inverse", "permuted_reads", "unpermuted"]

Permutation = tuple[int, ...]
"""Axes of a tensor in the order of another layout, as ``tf.transpose`` takes them."""


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that takes another back."""
    return tuple(int(axis) for axis in np.argsort(permutation))


def _permutation(op: tf.Operation) -> Permutation | None:
    """What a transposition permutes by, if the operation is one with constant axes."""
    axes = tf.get_static_value(op.inputs[1]) if op.type == "Transpose" else None
    return None if axes is None else tuple(int(axis) for axis in axes)


def permuted_reads(tensor: tf.Tensor) -> tuple[Permutation, list[tf.Tensor]] | None:
    """The one permutation through which a tensor is read, and its results; None for any other reading, or for none."""
    readers = tensor.consumers()
    permutations = {_permutation(op) if op.inputs[0] is tensor else None for op in readers}
    first = next(iter(permutations), None)
    return None if first is None or len(permutations) > 1 else (first, [op.outputs[0] for op in readers])


def unpermuted(tensor: tf.Tensor, permutation: Permutation) -> tf.Tensor | None:
    """The tensor before a transposition by ``permutation``, if it is the result of one."""
    while tensor.op.type == "Identity":  # a function's results are copies of tensors
        tensor = tensor.op.inputs[0]
    return tensor.op.inputs[0] if _permutation(tensor.op) == permutation else None
