"""Connectionist temporal classification in plain operations of JAX; maths: :mod:`fathom_exporters.shared.ctc`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike

from fathom_exporters.shared.ctc import NEVER, RESCALE_EVERY

from . import marks

__all__ = ["ctc_loss"]


def _cost(allowed: ArrayLike, dtype: DTypeLike) -> Array:
    """0 where it is allowed, NEVER elsewhere."""
    return jnp.logical_not(allowed).astype(dtype) * NEVER


def _log_sum_exp(x: Array, axis: int) -> Array:
    """As ``jax.nn.logsumexp``, without its provision for infinite values."""
    largest = lax.stop_gradient(x.max(axis, keepdims=True))
    return jnp.log(jnp.exp(x - largest).sum(axis)) + largest.squeeze(axis)


def ctc_loss(logits: Array, lengths: Array, labels: Array, label_lengths: Array) -> Array:
    """Logits [T, N, C], lengths [N], labels [N, L], label_lengths [N] -> ``-log p(labels)`` of each utterance, [N]."""
    frames, batch, classes = logits.shape
    blank = classes - 1
    states = 2 * labels.shape[1] + 1
    dtype = logits.dtype
    state = np.arange(states, dtype=labels.dtype)

    blanks = jnp.full_like(labels, blank)
    path = jnp.stack([blanks, labels], 2).reshape(batch, states - 1)
    path = jnp.concatenate([path, blanks[:, :1]], 1)  # [N, S]

    # log probability of each state's class in each frame, [T, N, S]
    every_class = np.arange(classes, dtype=labels.dtype)
    chosen = (path[:, None] == every_class[:, None]).astype(dtype)  # [N, C, S]
    emitted = (marks.log_softmax(logits, 2).transpose(1, 0, 2) @ chosen).transpose(1, 0, 2)

    # the cost of entering a state from itself, the one before and the one before that, [N, 3, S]
    stay = jnp.zeros((batch, states), dtype)
    step = jnp.broadcast_to(_cost(state >= 1, dtype), (batch, states))
    may_skip = (path[:, 2:] != path[:, :-2]) & (path[:, 2:] != blank)
    skip = jnp.concatenate([jnp.full((batch, 2), NEVER, dtype), _cost(may_skip, dtype)], 1)
    entered = jnp.stack([stay, step, skip], 1)
    only_stay = _cost(np.arange(3) == 0, dtype)[:, None]
    running = (np.arange(frames, dtype=lengths.dtype)[:, None] < lengths).reshape(frames, batch, 1, 1)
    added = jnp.where(running, emitted[:, :, None] + entered, only_stay)
    first, *later = jnp.split(added.reshape(frames * batch, 3 * states), frames)

    # column k S + s of the matrix picks state s - k; where there is none it is all zeros and the cost is NEVER
    column = np.arange(3 * states)
    move = jnp.asarray(state[:, None] == column % states - column // states).astype(dtype)

    alpha = first[:, :states] + _cost(state < 2, dtype)
    subtracted = []
    for frame, frame_added in enumerate(later, start=1):
        alpha = _log_sum_exp((alpha @ move + frame_added).reshape(batch, 3, states), 1)
        if frame % RESCALE_EVERY == 0:
            subtracted.append(lax.stop_gradient(alpha.max(1, keepdims=True)))
            alpha = alpha - subtracted[-1]

    last = 2 * label_lengths[:, None]
    ends = (state == last) | (state == last - 1)
    log_p = _log_sum_exp(alpha + _cost(ends, dtype), 1)
    return -(log_p + jnp.concatenate(subtracted, 1).sum(1)) if subtracted else -log_p
