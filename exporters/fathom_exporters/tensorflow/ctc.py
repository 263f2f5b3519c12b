"""Connectionist temporal classification in TensorFlow's plain operations; maths: :mod:`fathom_exporters.shared.ctc`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fathom_exporters.shared.ctc import NEVER, RESCALE_EVERY

__all__ = ["ctc_loss"]


def _cost(allowed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """0 where it is allowed, NEVER elsewhere."""
    return tf.cast(tf.logical_not(allowed), dtype) * tf.constant(NEVER, dtype)


def _log_sum_exp(x: tf.Tensor, axis: int) -> tf.Tensor:
    """As ``tf.reduce_logsumexp``, without its provision for infinite values."""
    largest = tf.stop_gradient(tf.reduce_max(x, axis, keepdims=True))
    return tf.math.log(tf.reduce_sum(tf.exp(x - largest), axis)) + tf.squeeze(largest, axis)


def ctc_loss(logits: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor, label_lengths: tf.Tensor) -> tf.Tensor:
    """Logits [T, N, C], lengths [N], labels [N, L], label_lengths [N] -> ``-log p(labels)`` of each utterance, [N]."""
    frames, batch, classes = logits.shape
    states = 2 * labels.shape[1] + 1
    dtype = logits.dtype
    state = np.arange(states)

    blanks = tf.fill(labels.shape, tf.constant(classes - 1, labels.dtype))
    path = tf.reshape(tf.stack([blanks, labels], 2), [batch, states - 1])
    path = tf.concat([path, blanks[:, :1]], 1)  # [N, S]

    # log probability of each state's class in each frame, [T, N, S]
    chosen = tf.cast(tf.equal(path[:, tf.newaxis], np.arange(classes)[:, np.newaxis]), dtype)  # [N, C, S]
    emitted = tf.transpose(tf.matmul(tf.transpose(tf.nn.log_softmax(logits), (1, 0, 2)), chosen), (1, 0, 2))

    # the cost of entering a state from itself, the one before and the one before that, [N, 3, S]
    stay = tf.zeros((batch, states), dtype)
    step = tf.tile(_cost(tf.constant(state >= 1), dtype)[tf.newaxis], (batch, 1))
    may_skip = tf.logical_and(tf.not_equal(path[:, 2:], path[:, :-2]), tf.not_equal(path[:, 2:], classes - 1))
    skip = tf.concat([tf.fill((batch, 2), tf.constant(NEVER, dtype)), _cost(may_skip, dtype)], 1)
    entered = tf.stack([stay, step, skip], 1)
    only_stay = _cost(tf.constant(np.arange(3) == 0), dtype)[:, tf.newaxis]
    running = tf.reshape(np.arange(frames)[:, np.newaxis] < lengths, (frames, batch, 1, 1))
    added = tf.where(running, emitted[:, :, tf.newaxis] + entered, only_stay)
    first, *later = tf.split(tf.reshape(added, (frames * batch, 3 * states)), frames)

    # column k S + s of the matrix picks state s - k; where there is none it is all zeros and the cost is NEVER
    column = np.arange(3 * states)
    move = tf.constant(state[:, np.newaxis] == column % states - column // states, dtype=tf.bool)
    move = tf.cast(move, dtype)

    alpha = first[:, :states] + _cost(tf.constant(state < 2), dtype)
    subtracted = []
    for frame, frame_added in enumerate(later, start=1):
        alpha = _log_sum_exp(tf.reshape(tf.matmul(alpha, move) + frame_added, (batch, 3, states)), 1)
        if frame % RESCALE_EVERY == 0:
            subtracted.append(tf.stop_gradient(tf.reduce_max(alpha, 1, keepdims=True)))
            alpha = alpha - subtracted[-1]

    last = 2 * label_lengths[:, tf.newaxis]
    ends = tf.logical_or(tf.equal(state, last), tf.equal(state, last - 1))
    log_p = _log_sum_exp(alpha + _cost(ends, dtype), 1)
    return -(log_p + tf.reduce_sum(tf.concat(subtracted, 1), 1)) if subtracted else -log_p
