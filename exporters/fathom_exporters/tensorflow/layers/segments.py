"""Functions of the rows of segments: of those that have the same number in a list."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["segment_softmax", "segment_sum"]


def segment_sum(values: tf.Tensor, segments: tf.Tensor, count: int) -> tf.Tensor:
    """Rows [N, ...] summed by the segment of each, a number from 0 to ``count - 1``: [count, ...].

    ``tf.math.unsorted_segment_sum`` also takes negative numbers, and its gradient chooses for every element.
    """
    return tf.scatter_nd(tf.expand_dims(segments, 1), values, (count, *values.shape[1:]))


def segment_softmax(logits: tf.Tensor, segments: tf.Tensor, count: int) -> tf.Tensor:
    """Softmax of the rows of each segment, column by column: [N, heads] -> [N, heads]."""
    largest = tf.math.unsorted_segment_max(tf.stop_gradient(logits), segments, count)
    powers = tf.exp(logits - tf.gather(largest, segments))
    return powers / tf.gather(segment_sum(powers, segments, count), segments)
