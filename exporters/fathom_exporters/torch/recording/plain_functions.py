"""Functions of ``torch.nn.functional`` whose own operations have no static shapes, in plain ones while recording.

They are replaced as functions and not in the table of decompositions: what they call is recorded by shapes that depend
on values, or looks at values before it computes.
"""

from __future__ import annotations

import contextlib
import math
import unittest.mock
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional
from torch import Tensor

from fathom_exporters.shared.ctc import NEVER
from fathom_exporters.torch.ctc import ctc_loss as recursion
from fathom_onnx.errors import ExportError

__all__ = ["plain_functions"]


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """``F.gaussian_nll_loss`` without the look at whether every variance is positive."""
    spread = var if isinstance(var, Tensor) else var * torch.ones_like(input)
    if spread.shape != input.shape and input.shape[:-1] == spread.shape:
        spread = spread.unsqueeze(-1)
    spread = spread + (spread.clamp(min=eps) - spread).detach()  # the bound has no part in the gradient
    loss = 0.5 * (torch.log(spread) + (input - target) ** 2 / spread)
    return _reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """``F.embedding_bag`` of bags of one size, one row of ``input`` a bag.

    Raises:
        ExportError: The bags are given by offsets, or rows are normalised as they are read.
    """
    if weight.dtype == torch.long and input.is_floating_point():
        input, weight = weight, input
    if input.dim() != 2 or offsets is not None:
        raise ExportError(
            "an embedding bag with offsets has bags of sizes that depend on values",
            "give ids as a matrix, one row a bag",
        )
    if max_norm is not None:
        raise ExportError(
            "an embedding with max_norm changes its table while it is read", "normalise the rows that are read"
        )
    rows = torch.nn.functional.embedding(input, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq)
    if padding_idx is None:
        rows = rows if per_sample_weights is None else rows * per_sample_weights.unsqueeze(-1)
        if mode == "max":
            return rows.max(1).values
        return rows.sum(1) if mode == "sum" else rows.mean(1)
    kept = (input != padding_idx % weight.shape[0]).unsqueeze(-1)
    count = kept.to(rows.dtype).sum(1)
    if mode == "max":
        return torch.where(count > 0, rows.masked_fill(~kept, -math.inf).max(1).values, 0.0)
    rows = rows if per_sample_weights is None else rows * per_sample_weights.unsqueeze(-1)
    total = torch.where(kept, rows, 0.0).sum(1)
    return total if mode == "sum" else total / count.clamp(min=1)


def _lengths(given: Any) -> Tensor:
    return given if isinstance(given, Tensor) else torch.tensor(given)


def _rows(targets: Tensor, lengths: Any) -> Tensor:
    """Targets one row an utterance; those that follow each other need lengths in Python."""
    if targets.dim() == 2:
        return targets
    if isinstance(lengths, Tensor):
        raise ExportError(
            "targets of ctc_loss that follow each other have places that depend on values",
            "give them as a matrix, one row an utterance",
        )
    longest = max([*lengths, 1])
    parts = targets.split(list(lengths))
    return torch.stack([torch.nn.functional.pad(part, (0, longest - part.shape[0])) for part in parts])


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """``F.ctc_loss`` by the recursion of :mod:`fathom_exporters.torch.ctc`, which has the blank last.

    Raises:
        ExportError: Targets follow each other and their lengths are a tensor.
    """
    alone = log_probs.dim() == 2
    if alone:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.reshape(1, -1)
    labels = _rows(targets, target_lengths).long()
    frames, lengths = _lengths(input_lengths).reshape(-1), _lengths(target_lengths).reshape(-1)
    classes = log_probs.shape[2]
    parts = [log_probs[..., :blank], log_probs[..., blank + 1 :], log_probs[..., blank : blank + 1]]
    ordered = torch.cat([part for part in parts if part.shape[2]], 2)
    labels = torch.where(labels > blank, labels - 1, labels).clamp(min=0, max=max(classes - 2, 0))
    loss = recursion(ordered, frames, labels, lengths)
    impossible = loss > -NEVER * 1e-5
    loss = torch.where(impossible, 0.0 if zero_infinity else math.inf, loss)
    if reduction == "mean":
        return (loss / lengths.clamp(min=1)).mean()
    return loss.sum() if reduction == "sum" else (loss.squeeze(0) if alone else loss)


@contextlib.contextmanager
def plain_functions() -> Iterator[None]:
    """While entered, the functions of this module stand in for those of ``torch.nn.functional``."""
    with contextlib.ExitStack() as stack:
        for function in (gaussian_nll_loss, embedding_bag, ctc_loss):
            stack.enter_context(unittest.mock.patch.object(torch.nn.functional, function.__name__, function))
        yield
