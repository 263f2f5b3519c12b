"""Recurrent layers as they are unrolled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["UNROLLED", "masked_as_in_a_loop"]

UNROLLED = "unrolled in place of a loop"
"""What stands for True in a layer that is a loop as the user made it."""


def masked_as_in_a_loop(rnn: Callable[..., Any]) -> Callable[..., Any]:
    """Keras' ``backend.rnn``, whose unrolled form masks the outputs of a backward recurrence as its loop does.

    Both hand back the outputs of a backward recurrence last step first. Where masked outputs are to be zero (in
    ``Bidirectional`` with ``return_sequences``), the unrolled form of Keras 3.15 masks them in the order of time.
    """

    def unrolled(step: Any, inputs: Any, states: Any, *args: Any, **more: Any) -> Any:
        mask, zero = more.get("mask"), more.get("zero_output_for_mask", False)
        if args or mask is None or not (zero and more.get("unroll") is UNROLLED and more.get("go_backwards")):
            return rnn(step, inputs, states, *args, **more)
        _, outputs, last_states = rnn(step, inputs, states, **{**more, "zero_output_for_mask": False})
        axis = 0 if more.get("time_major") else 1
        keep = tf.stack(tf.unstack(mask, axis=axis)[::-1], axis)
        keep = tf.reshape(keep, [*keep.shape[:2], *([1] * (len(outputs.shape) - 2))])
        outputs = tf.where(keep, outputs, tf.zeros_like(outputs))
        return tf.unstack(outputs, axis=axis)[-1], outputs, last_states

    return unrolled
