"""Connectionist temporal classification in plain operations: TensorFlow's own is a loop that does not unroll.

The forward recursion of Graves et al. 2006 (section 4.1) in the log domain; the gradient is the tape's. An impossible
step costs NEVER, a large finite number: with infinity the gradient would be that minus itself.

The path of labels with blanks around them has S = 2 L + 1 states. A step in time takes each from three: itself, the
one before, and the one before that where both are labels and not the same. All that depends on time only is made for
all steps at once; the step itself is one product with a constant matrix of 0 and 1, which moves all three in place and
whose gradient moves them back, an addition and a reduction. Where an utterance is over, the state stays as it is.

Every few steps the largest state becomes 0 and the loss gets the difference back: float32 rounds a log probability of
several hundred by 3e-5, which would be a relative error of that size in the probability at every step anew.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

__all__ = ["NEVER", "ctc_loss"]

NEVER = -1e30
"""Log probability of what cannot happen."""

RESCALED = 8
"""Steps from one rescaling of the states to the next."""


def _cost(allowed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """0 where it is allowed, NEVER elsewhere."""
    return tf.cast(tf.logical_not(allowed), dtype) * tf.constant(NEVER, dtype)


def _log_sum_exp(x: tf.Tensor, axis: int) -> tf.Tensor:
    """As ``tf.reduce_logsumexp``, without its provision for infinite values."""
    largest = tf.stop_gradient(tf.reduce_max(x, axis, keepdims=True))
    return tf.math.log(tf.reduce_sum(tf.exp(x - largest), axis)) + tf.squeeze(largest, axis)


def ctc_loss(logits: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor, label_lengths: tf.Tensor) -> tf.Tensor:
    """``-log p(labels)`` of each utterance, [N].

    Args:
        logits: Scores [T, N, C], the blank last.
        lengths: Frames of each utterance [N], at least 1.
        labels: Classes [N, L] without blanks; past the end any of them.
        label_lengths: Labels of each utterance [N], 0 or more and no more than its frames can carry; otherwise its
            loss is of the size of NEVER.
    """
    frames, batch, classes = logits.shape
    states = 2 * labels.shape[1] + 1
    dtype = logits.dtype
    state = np.arange(states)

    blanks = tf.fill(labels.shape, tf.constant(classes - 1, labels.dtype))
    path = tf.reshape(tf.stack([blanks, labels], 2), [batch, states - 1])
    path = tf.concat([path, blanks[:, :1]], 1)  # [N, S]

    # log probability of each state's class at each time, [T, N, S]
    chosen = tf.cast(tf.equal(path[:, tf.newaxis], np.arange(classes)[:, np.newaxis]), dtype)  # [N, C, S]
    emitted = tf.transpose(tf.matmul(tf.transpose(tf.nn.log_softmax(logits), (1, 0, 2)), chosen), (1, 0, 2))

    # what it costs a state to be entered from itself, the one before and the one before that, [N, 3, S]
    stay = tf.zeros((batch, states), dtype)
    step = tf.tile(_cost(tf.constant(state >= 1), dtype)[tf.newaxis], (batch, 1))
    skips = tf.logical_and(tf.not_equal(path[:, 2:], path[:, :-2]), tf.not_equal(path[:, 2:], classes - 1))
    skip = tf.concat([tf.fill((batch, 2), tf.constant(NEVER, dtype)), _cost(skips, dtype)], 1)
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
    taken = []
    for number, one in enumerate(later, start=1):
        alpha = _log_sum_exp(tf.reshape(tf.matmul(alpha, move) + one, (batch, 3, states)), 1)
        if number % RESCALED == 0:
            taken.append(tf.stop_gradient(tf.reduce_max(alpha, 1, keepdims=True)))
            alpha = alpha - taken[-1]

    last = 2 * label_lengths[:, tf.newaxis]
    ends = tf.logical_or(tf.equal(state, last), tf.equal(state, last - 1))
    log_p = _log_sum_exp(alpha + _cost(ends, dtype), 1)
    return -(log_p + tf.reduce_sum(tf.concat(taken, 1), 1)) if taken else -log_p
