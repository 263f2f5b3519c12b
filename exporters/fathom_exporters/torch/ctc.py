"""Connectionist temporal classification in plain operations of PyTorch; maths: :mod:`fathom_exporters.shared.ctc`."""

from __future__ import annotations

import torch
from torch import Tensor

from fathom_exporters.shared.ctc import NEVER, RESCALE_EVERY

__all__ = ["ctc_loss", "ctc_of_scores"]


def _cost(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where it is allowed, NEVER elsewhere."""
    return (~allowed).to(dtype) * NEVER


def ctc_loss(logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """Logits [T, N, C], lengths [N], labels [N, L], label_lengths [N] -> ``-log p(labels)`` of each utterance, [N]."""
    return ctc_of_scores(torch.log_softmax(logits, 2), lengths, labels, label_lengths, logits.shape[2] - 1)


def ctc_of_scores(scores: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor, blank: int) -> Tensor:
    """The same of log probabilities [T, N, C] with the class ``blank`` between labels.

    Where no path of the given length has these labels, the result is some large number, more than ``-NEVER / 2``.
    """
    frames, batch, classes = scores.shape
    states = 2 * labels.shape[1] + 1
    dtype = scores.dtype
    state = torch.arange(states)

    blanks = torch.full_like(labels, blank)
    path = torch.stack([blanks, labels], 2).flatten(1)
    path = torch.cat([path, blanks[:, :1]], 1)  # [N, S]

    # log probability of each state's class in each frame, [T, N, S]
    chosen = (path.unsqueeze(1) == torch.arange(classes).view(1, -1, 1)).to(dtype)  # [N, C, S]
    emitted = torch.bmm(scores.transpose(0, 1), chosen).transpose(0, 1)

    # the cost of entering a state from itself, the one before and the one before that, [N, 3, S]
    stay = torch.zeros(states, dtype=dtype)
    step = _cost(state >= 1, dtype)
    may_skip = (path[:, 2:] != path[:, :-2]) & (path[:, 2:] != blank)
    skip = torch.cat([torch.full((batch, 2), NEVER, dtype=dtype), _cost(may_skip, dtype)], 1)
    entered = torch.stack([stay.expand(batch, -1), step.expand(batch, -1), skip], 1)
    only_stay = _cost(torch.arange(3) == 0, dtype).view(1, 1, 3, 1)
    running = (torch.arange(frames).view(-1, 1) < lengths).view(frames, batch, 1, 1)
    added = torch.where(running, emitted.unsqueeze(2) + entered, only_stay).view(frames * batch, 3 * states)
    first, *later = added.split(batch)

    # column k S + s of the matrix picks state s - k; where there is none it is all zeros and the cost is NEVER
    column = torch.arange(3 * states)
    move = (state.unsqueeze(1) == column % states - column // states).to(dtype)

    alpha = first[:, :states] + _cost(state < 2, dtype)
    subtracted = []
    for frame, frame_added in enumerate(later, start=1):
        alpha = torch.logsumexp((alpha @ move + frame_added).view(batch, 3, states), 1)
        if frame % RESCALE_EVERY == 0:
            subtracted.append(alpha.amax(1, keepdim=True).detach())
            alpha = alpha - subtracted[-1]

    last = 2 * label_lengths.unsqueeze(1)
    ends = (state == last) | (state == last - 1)
    log_p = torch.logsumexp(alpha + _cost(ends, dtype), 1)
    return -(log_p + torch.cat(subtracted, 1).sum(1)) if subtracted else -log_p
