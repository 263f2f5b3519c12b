"""Functions that are written out while a step is recorded: values and gradients of PyTorch's own, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fathom_exporters.torch.recording.plain_functions import plain_functions

TABLE = torch.sin(torch.arange(21.0, dtype=torch.float64) * 1.7).reshape(7, 3)
IDS = torch.tensor([[1, 5, 1, 0], [3, 3, 3, 2], [2, 6, 4, 2]])
FLAT = IDS.reshape(-1)
OFFSETS = torch.tensor([0, 3, 3, 8])
ENDED = torch.tensor([0, 3, 3, 8, 12])
PADDED = torch.tensor([[2, 2, 2, 2], [1, 2, 3, 2]])
WEIGHTS = torch.cos(torch.arange(12.0, dtype=torch.float64)).reshape(3, 4)

BAGS: dict[str, tuple[tuple[Tensor, ...], dict[str, object]]] = {
    "rows": ((IDS,), {}),
    "rows of int32": ((IDS.int(),), {}),
    "offsets, one bag empty": ((FLAT, OFFSETS), {}),
    "offsets with the last": ((FLAT, ENDED), {"include_last_offset": True}),
    "rows, padding": ((PADDED,), {"padding_idx": 2}),
    "rows, padding from the end": ((PADDED,), {"padding_idx": -5}),
    "offsets, padding": ((FLAT, OFFSETS), {"padding_idx": 3}),
    "rows no longer than": ((IDS,), {"max_norm": 1.1}),
    "rows no longer than, by the sum": ((IDS,), {"max_norm": 1.1, "norm_type": 1.0}),
}
"""Kind of bags to ids, offsets and options."""


def value_and_gradients(function: Callable[..., Tensor], *tensors: Tensor) -> list[Tensor]:
    """The function's result, its gradients for a loss of unequal shares, and the tensors afterwards."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    result = function(*leaves)
    shares = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
    return [result, *torch.autograd.grad((result * shares).sum(), leaves), *leaves]


def agree(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    want = value_and_gradients(function, *tensors)
    with plain_functions():
        got = value_and_gradients(function, *tensors)
    for actual, expected in zip(got, want, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("kind", BAGS)
def test_a_bag_of_embeddings_is_pytorchs(kind: str, mode: str) -> None:
    (ids, *offsets), options = BAGS[kind]
    agree(lambda table: F.embedding_bag(ids, table, *offsets, mode=mode, **options), TABLE)


def test_a_bag_weighs_its_ids() -> None:
    agree(lambda table, w: F.embedding_bag(IDS, table, mode="sum", per_sample_weights=w), TABLE, WEIGHTS)
    flat = WEIGHTS.reshape(-1)
    agree(lambda table, w: F.embedding_bag(FLAT, table, OFFSETS, mode="sum", per_sample_weights=w), TABLE, flat)


def test_a_module_reads_the_function_that_is_put_in_its_place() -> None:
    bag = nn.EmbeddingBag(7, 3, mode="mean").double()
    want = bag(IDS)
    with plain_functions():
        got = bag(IDS)
    torch.testing.assert_close(got, want)
    assert "EmbeddingBag" in type(want.grad_fn).__name__
    assert "EmbeddingBag" not in type(got.grad_fn).__name__


def test_an_embedding_is_renormalised_in_place_and_its_gradient_is_dense() -> None:
    agree(lambda table: F.embedding(IDS, table, max_norm=1.0, padding_idx=3), TABLE)
    table = TABLE.clone().requires_grad_()
    with plain_functions():
        F.embedding(IDS, table, sparse=True).sum().backward()
    assert not table.grad.is_sparse


def scores(frames: int, batch: int, classes: int, *, normalised: bool = True) -> Tensor:
    values = torch.sin(torch.arange(frames * batch * classes, dtype=torch.float64) * 2.3) * 2
    values = values.reshape(frames, batch, classes)
    return values.log_softmax(2) if normalised else values


LABELS = torch.tensor([[1, 2, 2], [3, 0, 0], [4, 1, 4]])
LENGTHS, LABEL_LENGTHS = torch.tensor([9, 5, 7]), torch.tensor([3, 1, 2])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_ctc_loss_is_pytorchs(reduction: str) -> None:
    def loss(x: Tensor) -> Tensor:
        return F.ctc_loss(x, LABELS, LENGTHS, LABEL_LENGTHS, reduction=reduction)

    agree(loss, scores(9, 3, 5))
    agree(lambda x: loss(x.log_softmax(2)), scores(9, 3, 5, normalised=False))
    agree(loss, scores(9, 3, 5, normalised=False))


def test_a_ctc_loss_takes_its_arguments_in_every_form() -> None:
    x = scores(9, 3, 5)
    joined = torch.tensor([1, 2, 2, 3, 4, 1])
    agree(lambda x: F.ctc_loss(x, joined, LENGTHS, LABEL_LENGTHS, reduction="none"), x)
    agree(lambda x: F.ctc_loss(x, joined, (9, 5, 7), (3, 1, 2), reduction="none"), x)
    agree(lambda x: F.ctc_loss(x, LABELS, (9, 5, 7), (3, 1, 2), reduction="none"), x)
    agree(lambda x: F.ctc_loss(x, LABELS.clamp(max=3), LENGTHS, LABEL_LENGTHS, blank=4, reduction="none"), x)
    agree(lambda x: F.ctc_loss(x, LABELS[0], torch.tensor(8), torch.tensor(3), reduction="none"), x[:, 0])
    agree(lambda x: F.ctc_loss(x, LABELS, LENGTHS, torch.tensor([3, 0, 2])), x)


def test_an_utterance_that_is_too_short_has_an_infinite_loss_or_none() -> None:
    x = scores(3, 3, 5)
    short = torch.tensor([3, 3, 3])
    agree(lambda x: F.ctc_loss(x, LABELS, short, LABEL_LENGTHS, reduction="none", zero_infinity=True), x)
    with plain_functions():
        loss = F.ctc_loss(x, LABELS, short, LABEL_LENGTHS, reduction="none")
    assert loss[0] == torch.inf
    assert torch.isfinite(loss[1:]).all()


def test_what_was_replaced_is_put_back() -> None:
    own = F.embedding, F.embedding_bag, F.ctc_loss, torch.backends.mha.get_fastpath_enabled()
    with plain_functions():
        assert F.ctc_loss is not own[2]
        assert not torch.backends.mha.get_fastpath_enabled()
    assert (F.embedding, F.embedding_bag, F.ctc_loss, torch.backends.mha.get_fastpath_enabled()) == own


class _AsTheyAre(TorchFunctionMode):
    """A mode that does nothing; PyTorch's own ``l1_loss`` forgets its weights under any."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_weighted_l1_loss_keeps_its_weights_while_it_is_recorded(reduction: str) -> None:
    def loss(x: Tensor, weight: Tensor) -> Tensor:
        return F.l1_loss(x, torch.zeros_like(x), reduction=reduction, weight=weight)

    x, weight = WEIGHTS + 0.1, WEIGHTS.abs() + 0.5
    agree(loss, x, weight)
    want = loss(x, weight)
    with _AsTheyAre(), plain_functions():
        torch.testing.assert_close(loss(x, weight), want)
