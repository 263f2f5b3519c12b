"""Connectionist temporal classification in plain operations: PyTorch's own has no static shapes.

The forward recursion of Graves et al. 2006 (section 4.1) in the log domain; the gradient is autograd's. An impossible
step costs NEVER, a large finite number: with infinity the gradient would be that minus itself.

The path of labels with blanks around them has S = 2 L + 1 states. A step in time takes each from three: itself, the
one before, and the one before that where both are labels and not the same. All that depends on time only is made for
all steps at once; the step itself is one product with a constant matrix of 0 and 1, which moves all three in place and
whose gradient moves them back, an addition and a reduction. Where an utterance is over, the state stays as it is.

Every few steps the largest state becomes 0 and the loss gets the difference back: float32 rounds a log probability of
several hundred by 3e-5, which would be a relative error of that size in the probability at every step anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NEVER", "ctc_loss"]

NEVER = -1e30
"""Log probability of what cannot happen."""

RESCALED = 8
"""Steps from one rescaling of the states to the next."""


def _cost(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where it is allowed, NEVER elsewhere."""
    return (~allowed).to(dtype) * NEVER


def ctc_loss(logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
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
    state = torch.arange(states)

    blanks = torch.full_like(labels, classes - 1)
    path = torch.stack([blanks, labels], 2).flatten(1)
    path = torch.cat([path, blanks[:, :1]], 1)  # [N, S]

    # log probability of each state's class at each time, [T, N, S]
    chosen = (path.unsqueeze(1) == torch.arange(classes).view(1, -1, 1)).to(dtype)  # [N, C, S]
    emitted = torch.bmm(torch.log_softmax(logits, 2).transpose(0, 1), chosen).transpose(0, 1)

    # what it costs a state to be entered from itself, the one before and the one before that, [N, 3, S]
    stay = torch.zeros(states, dtype=dtype)
    step = _cost(state >= 1, dtype)
    skips = (path[:, 2:] != path[:, :-2]) & (path[:, 2:] != classes - 1)
    skip = torch.cat([torch.full((batch, 2), NEVER, dtype=dtype), _cost(skips, dtype)], 1)
    entered = torch.stack([stay.expand(batch, -1), step.expand(batch, -1), skip], 1)
    only_stay = _cost(torch.arange(3) == 0, dtype).view(1, 1, 3, 1)
    running = (torch.arange(frames).view(-1, 1) < lengths).view(frames, batch, 1, 1)
    added = torch.where(running, emitted.unsqueeze(2) + entered, only_stay).view(frames * batch, 3 * states)
    first, *later = added.split(batch)

    # column k S + s of the matrix picks state s - k; where there is none it is all zeros and the cost is NEVER
    column = torch.arange(3 * states)
    move = (state.unsqueeze(1) == column % states - column // states).to(dtype)

    alpha = first[:, :states] + _cost(state < 2, dtype)
    taken = []
    for number, one in enumerate(later, start=1):
        alpha = torch.logsumexp((alpha @ move + one).view(batch, 3, states), 1)
        if number % RESCALED == 0:
            taken.append(alpha.amax(1, keepdim=True).detach())
            alpha = alpha - taken[-1]

    last = 2 * label_lengths.unsqueeze(1)
    ends = (state == last) | (state == last - 1)
    log_p = torch.logsumexp(alpha + _cost(ends, dtype), 1)
    return -(log_p + torch.cat(taken, 1).sum(1)) if taken else -log_p
