"""Reads and writes of parts, windows, scatters with and without the element itself, with their gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.operations import Case, compare, tensors

X, Y = tensors((4, 5, 3), (4, 5, 3))
M = tensors((4, 6), seed=9)[0]
P = tensors((4, 6), seed=2, low=0.1, high=0.9)[0]
V = tensors((7,), seed=3)[0]
N = torch.tensor([[-7, -3, 0, 5], [2, -1, 9, 4], [-8, 6, 1, 3]])
B = N > 0
INDEX = torch.tensor([2, 0, 2, 3])
IDS = torch.tensor([[1, 5, 1, 0], [3, 3, 3, 2]])
TABLE = tensors((7, 3), seed=4)[0]


def written(x: Tensor, key: object, value: Tensor | float) -> Tensor:
    y = x * 1
    y[key] = value
    return y


CASES = [
    Case("as_strided windows", lambda x: torch.as_strided(x, (5, 3), (2, 1), 1), (M,)),
    Case("as_strided of transposed", lambda x: (x.t() * 1).as_strided((3, 2), (1, 6), 2), (M,)),
    Case("view of transposed contiguous", lambda x: x.transpose(0, 1).contiguous().view(-1, 3), (X,)),
    Case("slice step", lambda x: x[::2, 1::3], (M,)),
    Case("slice step neg start", lambda x: x[:, -5:-1:2], (M,)),
    Case("slice assign", lambda x, y: written(x, (slice(None), slice(1, 3)), y[:, :2]), (M, M + 1)),
    Case("slice assign step", lambda x, y: written(x, (slice(0, 4, 2),), y[:2]), (M, M + 1)),
    Case("slice assign scalar", lambda x: written(x, (slice(1, 3),), 0.5), (M,)),
    Case("row assign", lambda x, y: written(x, 1, y[0]), (M, M + 1)),
    Case("mask assign scalar", lambda x: written(x, x > 0, 0.0), (M,)),
    Case("mask assign row", lambda x: written(x, torch.tensor([True, False, True, False]), 0.0), (M,)),
    Case("index assign dup free", lambda x, i, y: written(x, i[1:], y[:3]), (M, INDEX, M + 1)),
    Case(
        "index assign 2 with broadcast",
        lambda x, y: written(x, (torch.tensor([[0], [1]]), torch.tensor([1, 3])), y[:2, :2]),
        (M, M + 1),
    ),
    Case(
        "index assign middle slice",
        lambda x, y: written(x, (slice(None), torch.tensor([0, 4]), slice(0, 2)), y[:, :2, :2]),
        (X, Y),
    ),
    Case(
        "index assign apart",
        lambda x, y: written(x, (torch.tensor([0, 1]), slice(None), torch.tensor([2, 0])), y[:2, :, 0]),
        (X, Y),
    ),
    Case("index None", lambda x, i: x[:, None, i], (X, INDEX)),
    Case("diagonal matrix assign", lambda x: torch.diagonal_scatter(x[:, :4] * 1, torch.zeros(4, dtype=x.dtype)), (M,)),
    Case("fill_diagonal", lambda x: (x[:, :4] * 1).fill_diagonal_(0.0), (M,)),
    Case("diag", lambda v: torch.diag(v), (V,)),
    Case("diag of", lambda m: torch.diag(m), (M,)),
    Case("diag 1", lambda v: torch.diag(v, 1), (V,)),
    Case("diag_embed", lambda x: torch.diag_embed(x, 1), (M,)),
    Case("diag_embed axes", lambda x: torch.diag_embed(x, 0, 0, 2), (M,)),
    Case("block_diag", lambda a, b: torch.block_diag(a, b), (M, P)),
    Case("tril -1", lambda x: x.tril(-1), (X,)),
    Case("triu 2", lambda x: x.triu(2), (X,)),
    Case("rot90", lambda x: torch.rot90(x, 1, (0, 1)), (M,)),
    Case("roll", lambda x: x.roll((1, -2), (0, 1)), (M,)),
    Case("roll flat", lambda x: x.roll(3), (M,)),
    Case("flip", lambda x: x.flip((0, 1)), (M,)),
    Case("repeat", lambda x: x.repeat(2, 1, 3), (M,)),
    Case("tile", lambda x: x.tile(2), (M,)),
    Case("repeat_interleave", lambda x: x.repeat_interleave(2, 1), (M,)),
    Case("repeat_interleave list", lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 3]), 0, output_size=6), (M,)),
    Case("unfold", lambda x: x.unfold(1, 3, 2), (M,)),
    Case("chunk", lambda x: list(x.chunk(4, 1)), (M,)),
    Case("tensor_split", lambda x: list(x.tensor_split(4, 1)), (M,)),
    Case("unbind", lambda x: list(x.unbind(1)), (M,)),
    Case("meshgrid", lambda a, b: list(torch.meshgrid(a, b, indexing="xy")), (V, V[:3])),
    Case("cartesian", lambda a, b: torch.cartesian_prod(a, b), (V[:3], V[3:])),
    Case("combinations", lambda a: torch.combinations(a, 2), (V[:4],)),
    Case("unflatten", lambda x: x.unflatten(1, (2, 3)), (M,)),
    Case("pixel", lambda x: x.view(2, 2, 2, 3).permute(0, 2, 1, 3).reshape(4, 6), (M,)),
    Case(
        "scatter_reduce mean",
        lambda x, y, i: x.scatter_reduce(0, i[None, :].expand(2, 4) % 4, y[:2, :4], "mean"),
        (M, M + 1, INDEX),
    ),
    Case(
        "scatter_reduce mean no self",
        lambda x, y, i: x.scatter_reduce(0, i[None, :].expand(2, 4) % 4, y[:2, :4], "mean", include_self=False),
        (M, M + 1, INDEX),
    ),
    Case(
        "scatter_reduce amax",
        lambda x, y, i: x.scatter_reduce(0, i[None, :].expand(3, 4) % 4, y[:3, :4], "amax"),
        (M, M + 1, INDEX),
    ),
    Case(
        "scatter_reduce amax no self",
        lambda x, y, i: x.scatter_reduce(0, i[None, :].expand(3, 4) % 4, y[:3, :4], "amax", include_self=False),
        (M, M - 1, INDEX),
    ),
    Case(
        "scatter_reduce amin",
        lambda x, y, i: x.scatter_reduce(1, i[:, None].expand(4, 3), y[:, :3], "amin"),
        (M, M + 0.1, INDEX),
    ),
    Case(
        "scatter_reduce prod",
        lambda x, y, i: x.scatter_reduce(1, i[:, None].expand(4, 3), y[:, :3], "prod"),
        (P, P + 0.1, INDEX),
    ),
    Case(
        "scatter_reduce ties",
        lambda x, y, i: x.scatter_reduce(1, i[:, None].expand(4, 2), y[:, :2], "amax"),
        (torch.ones(4, 6), torch.ones(4, 6), INDEX),
    ),
    Case("scatter_add negative dim", lambda x, y, i: x.scatter_add(-1, i[:, None].expand(4, 6), y), (M, M + 1, INDEX)),
    Case("scatter value", lambda x, i: x.scatter(1, i[:, None], 2.5), (M, INDEX)),
    Case("scatter add reduce", lambda x, y, i: x.scatter(1, i[:, None], y, reduce="add"), (M, M, INDEX), plain=True),
    Case("index_add alpha", lambda x, i, y: x.index_add(0, i, y, alpha=-0.5), (M, INDEX, M + 1)),
    Case("index_reduce", lambda x, i, y: x.index_reduce(0, i, y, "mean"), (M, INDEX, M + 1), plain=True),
    Case("index_fill", lambda x, i: x.index_fill(1, i, 0.5), (M, INDEX)),
    Case("index_copy", lambda x, y: x.index_copy(1, torch.tensor([1, 3]), y[:, :2]), (M, M + 1)),
    Case("put accumulate", lambda x, y: x.put(torch.tensor([0, 0, 5]), y[0, :3], accumulate=True), (M, M + 1)),
    Case(
        "int scatter_add",
        lambda n: torch.zeros(5, dtype=torch.int64).scatter_add(0, torch.tensor([0, 0, 3, 1]), n[0]),
        (N,),
    ),
    Case("masked_scatter", lambda x, y: x.masked_scatter(x > 0, y), (M, M + 1)),
    Case("embedding pad", lambda t: F.embedding(IDS, t, padding_idx=3), (TABLE,)),
    Case("embedding freq", lambda t: F.embedding(IDS, t, scale_grad_by_freq=True), (TABLE,)),
    Case("one_hot", lambda n: F.one_hot(n.abs() % 5, 5).float() * 2, (N,)),
    Case("one_hot matmul", lambda t: F.one_hot(IDS, 7).to(t.dtype) @ t, (TABLE,)),
    Case("bucketize", lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0], dtype=x.dtype)), (M,)),
    Case("searchsorted rows", lambda x, p: torch.searchsorted(x.sort(1).values, p, right=True), (M, P)),
    Case("isin", lambda n: torch.isin(n, torch.tensor([1, 5, 9])), (N,)),
    Case("gather neg", lambda x, i: x.gather(1, i[:, None]), (M, INDEX)),
    Case("where 0d", lambda b, x: torch.where(b, x[:3, :4], torch.tensor(0.0, dtype=x.dtype)), (B, M)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
