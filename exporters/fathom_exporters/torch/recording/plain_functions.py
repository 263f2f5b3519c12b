"""Functions of ``torch.nn`` whose own operations have no static shapes, or change what is fake, in plain ones.

They are replaced as functions and not in the table of decompositions: what they call is recorded by shapes that depend
on values, looks at values before it computes, forgets an argument, or has a backward pass without a decomposition.
"""

from __future__ import annotations

import contextlib
import math
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.shared.ctc import NEVER
from fathom_exporters.torch.ctc import ctc_of_scores
from fathom_onnx.errors import ExportError

__all__ = ["plain_functions"]

_embedding = F.embedding
_any_one_hot = F.one_hot
_plain_l1_loss = F.l1_loss


def _gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """``F.gaussian_nll_loss`` without the look at whether every variance is positive."""
    spread = var if isinstance(var, Tensor) else var * torch.ones_like(input)
    if spread.shape != input.shape and input.shape[:-1] == spread.shape:
        spread = spread.unsqueeze(-1)
    spread = spread + (spread.clamp(min=eps) - spread).detach()  # the bound has no part in the gradient
    loss = 0.5 * (torch.log(spread) + (input - target) ** 2 / spread)
    loss = loss + 0.5 * math.log(2 * math.pi) if full else loss
    return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]


def _l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``F.l1_loss``, which forgets its weights while a step is recorded."""
    if weight is None:
        return _plain_l1_loss(input, target, size_average, reduce, reduction)
    if size_average is not None or reduce is not None:
        reduction = nn._reduction.legacy_get_string(size_average, reduce)
    loss = (input - target).abs() * weight
    return {"none": loss, "mean": loss.sum() / weight.sum(), "sum": loss.sum()}[reduction]


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """``F.one_hot`` without the look at whether every class is among them."""
    if num_classes < 1:
        return _any_one_hot(tensor, num_classes)
    return (tensor.unsqueeze(-1) == torch.arange(num_classes)).long()


def _renormalise(weight: Tensor, ids: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are read, in place, to a norm of ``max_norm`` where theirs is larger."""
    with torch.no_grad():
        read = torch.zeros(weight.shape[0]).index_fill(0, ids.reshape(-1).long(), 1.0) > 0
        norm = torch.linalg.vector_norm(weight, norm_type, 1, keepdim=True)
        too_long = read.unsqueeze(1) & (norm > max_norm)
        weight.copy_(torch.where(too_long, weight * (max_norm / (norm + 1e-7)), weight))


def _dense_embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """An embedding whose gradient is a dense tensor."""
    return _embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


def _bags(ids: Tensor, offsets: Tensor, include_last_offset: bool) -> tuple[Tensor, int]:
    """Number of the bag that each id is in, and how many bags there are."""
    starts = offsets[:-1] if include_last_offset else offsets
    place = torch.arange(ids.shape[0])
    return (starts <= place.unsqueeze(1)).sum(1) - 1, starts.shape[0]


def _reduced(rows: Tensor, kept: Tensor, bag: Tensor, count: int, mode: str) -> Tensor:
    """Rows [ids, width] of the bags joined; kept [ids, 1] is 0 where an id counts for nothing."""
    zeros = rows.new_zeros(count, rows.shape[1])
    if mode == "max":
        low = torch.where(kept > 0, rows, -torch.inf)
        index = bag.unsqueeze(1).expand(rows.shape)
        largest = (zeros - torch.inf).scatter_reduce(0, index, low, "amax", include_self=True)
        return torch.where(largest == -torch.inf, 0.0, largest)
    total = zeros.index_add(0, bag, rows * kept)
    if mode == "sum":
        return total
    return total / rows.new_zeros(count, 1).index_add(0, bag, kept).clamp(min=1)


def _embedding_bag(
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
    """``F.embedding_bag`` as an embedding and a sum, mean or maximum."""
    if weight.dtype == torch.long and input.is_floating_point():  # the order of long ago
        input, weight = weight, input
    rows = F.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if offsets is None and padding_idx is None:  # a bag is a row of ids
        if mode == "max":
            return rows.max(1).values
        return rows.sum(1) if mode == "sum" else rows.mean(1)
    if offsets is None:
        count, size = input.shape
        bag = torch.arange(count).unsqueeze(1).expand(count, size).reshape(-1)
    else:
        bag, count = _bags(input, offsets, include_last_offset)
    ids = input.reshape(-1, 1)
    padding = None if padding_idx is None else padding_idx % weight.shape[0]
    kept = (torch.ones_like(ids) if padding is None else ids != padding).to(rows.dtype)
    return _reduced(rows.reshape(-1, rows.shape[-1]), kept, bag, count, mode)


def _of_distribution(scores: Tensor) -> Tensor:
    """Log probabilities as they are; their gradient is taken for that of scores before a log-softmax, as PyTorch's."""
    total = scores.exp().sum(-1, keepdim=True)
    return scores + (total.detach() - total)


def _rows_of_labels(targets: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """Labels that stand one after the other, as a row for each utterance."""
    start = lengths.cumsum(0) - lengths
    place = start.unsqueeze(1) + torch.arange(longest)
    return targets.index_select(0, place.clamp(max=targets.shape[0] - 1).reshape(-1)).reshape(place.shape)


def _ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """``F.ctc_loss`` by its recursion over the frames."""
    scores = log_probs if log_probs.dim() == 3 else log_probs.unsqueeze(1)
    batch = scores.shape[1]
    longest = targets.shape[-1] if isinstance(target_lengths, Tensor) else max(target_lengths, default=0)
    lengths, label_lengths = (torch.as_tensor(n).long().reshape(batch) for n in (input_lengths, target_lengths))
    if log_probs.dim() == 2:
        targets = targets.reshape(1, -1)
    labels = targets if targets.dim() == 2 else _rows_of_labels(targets, label_lengths, longest)
    loss = ctc_of_scores(_of_distribution(scores), lengths, labels.long(), label_lengths, blank)
    loss = torch.where(loss > -NEVER / 2, 0.0 if zero_infinity else torch.inf, loss)
    if reduction == "mean":
        return (loss / label_lengths.clamp(min=1).to(loss.dtype)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if log_probs.dim() == 3 else loss.squeeze(0)


def _converted(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """A module's ``to(...)`` within its forward pass, which leaves tensors as they are that have the type already.

    Raises:
        ExportError: It would change one.
    """
    own = dict([*module.named_parameters(recurse=recurse), *module.named_buffers(recurse=recurse)])
    for name, tensor in own.items():
        with torch.no_grad():
            if change(tensor) is not tensor:
                raise ExportError(
                    f"'{name}' of a {type(module).__name__} is converted in the forward pass",
                    "convert the module before the step",
                )
    return module


@contextlib.contextmanager
def plain_functions() -> Iterator[None]:
    """While entered, the functions of this module stand in for PyTorch's, and transformer layers run unfused."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    functions = unittest.mock.patch.multiple(
        F,
        gaussian_nll_loss=_gaussian_nll_loss,
        l1_loss=_l1_loss,
        embedding=_dense_embedding,
        embedding_bag=_embedding_bag,
        ctc_loss=_ctc_loss,
        one_hot=_one_hot,
        _no_grad_embedding_renorm_=_renormalise,
    )
    try:
        with functions, unittest.mock.patch.object(nn.Module, "_apply", _converted):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
