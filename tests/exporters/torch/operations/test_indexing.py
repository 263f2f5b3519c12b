"""Indexing and movement: values and gradients of the exported graph against PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.operations import Case, compare, tensors

X, Y = tensors((4, 5, 3), (4, 5, 3))
T = tensors((6, 4), seed=1)[0]
V = tensors((8,), seed=2)[0]
AT = torch.tensor([2, 0, 2, 3])
J = torch.tensor([[1, 0, 1], [4, 4, 0]])
K = torch.tensor([-1, 0, -2, 3])
G = torch.tensor([[[1, 0, 4], [2, 2, 0]], [[0, 1, 1], [3, 3, 3]]])
BOOL = torch.tensor([[True, False, True, True, False]] * 2 + [[False, False, True, False, True]] * 2)
S = tensors((2, 2, 3), seed=3)[0]
SRC = tensors((4, 5, 3), seed=4)[0]
IDS = torch.tensor([[1, 5, 1, 0], [3, 3, 3, 2]])
SQ = tensors((4, 4), seed=5)[0]
IMAGE = tensors((2, 4, 4, 6), seed=6)[0]
N = torch.tensor([[-7, -3, 0, 5], [2, -1, 9, 4], [-8, 6, 1, 3]])
EDGES = torch.tensor([-1.0, -0.3, 0.2, 1.1])


def put(x, *indices, value, accumulate):
    return x.clone().index_put(indices, value, accumulate=accumulate)


def assigned(x, key, value):
    y = x * 1
    y[key] = value
    return y


CASES = [
    Case("gather", lambda x, g: x.gather(1, g), (X, G)),
    Case("gather 0", lambda x, g: x.gather(0, g % 4), (X, G)),
    Case("gather last", lambda x, g: x.gather(-1, g % 3), (X, G)),
    Case("take_along_dim", lambda x, g: torch.take_along_dim(x, g[:, :1, :1] % 3, 2), (X[:2], G)),
    Case("take", lambda x, j: torch.take(x, j), (X, J)),
    Case("index_select", lambda x, i: x.index_select(0, i), (X, AT)),
    Case("index_select 1", lambda x, i: x.index_select(1, i), (X, AT)),
    Case("index_select last", lambda x, i: x.index_select(-1, i % 3), (X, AT)),
    Case("index one", lambda x, i: x[i], (X, AT)),
    Case("index negative", lambda x, i: x[i], (X, K)),
    Case("index two", lambda x, i: x[i, i], (X, AT)),
    Case("index apart", lambda x, i: x[i, :, i % 3], (X, AT)),
    Case("index middle", lambda x, i: x[:, i], (X, AT)),
    Case("index last two", lambda x, i: x[:, i, i % 3], (X, AT)),
    Case("index matrix", lambda x, j: x[:, j], (X, J)),
    Case("index broadcast", lambda x, j: x[j % 4, torch.tensor([[1], [0]])], (X, J)),
    Case("index with slice and int", lambda x, i: x[1:, 2, i % 3], (X, AT)),
    Case("index all three", lambda x, i: x[i, i, i % 3], (X, AT)),
    Case("index of integers", lambda x, i: x[i % 3], (N, AT)),
    Case("index_fill", lambda x, i: x.index_fill(1, i, 9.0), (X, AT)),
    Case("index none", lambda x: x[None, :, None], (X,)),
    Case("index ellipsis", lambda x: x[..., 0], (X,)),
    Case("index int", lambda x: x[-1, 2], (X,)),
    Case("index_add", lambda x, i, s: x.index_add(1, i, s), (X, AT, SRC[:, :4])),
    Case("index_add alpha", lambda x, i, s: x.index_add(0, i, s, alpha=0.5), (X, AT, SRC)),
    Case("index_copy", lambda x, i, s: x.index_copy(1, i, s), (X, torch.tensor([3, 0, 4]), SRC[:, :3])),
    *[
        Case(f"index_reduce {r}", lambda x, i, s, r=r: x.index_reduce(0, i, s, r), (X, AT, SRC), plain=True)
        for r in ("amax", "amin")
    ],
    Case(
        "scatter",
        lambda x, g, s: x.scatter(1, g, s),
        (X, torch.tensor([[[1, 0, 4], [2, 3, 0]], [[0, 1, 1], [3, 2, 2]]]), S),
    ),
    Case("scatter value", lambda x, g: x.scatter(1, g, 7.0), (X, G)),
    Case("scatter add", lambda x, g, s: x.scatter_add(1, g, s), (X, G, S)),
    Case("scatter add 0", lambda x, g, s: x.scatter_add(0, g % 4, s), (X, G, S)),
    Case("scatter reduce= add", lambda x, g, s: x.scatter(1, g, s, reduce="add"), (X, G, S), plain=True),
    Case("scatter reduce= multiply", lambda x, g, s: x.scatter(1, g, s, reduce="multiply"), (X, G, S), plain=True),
    Case("scatter value one hot", lambda j: torch.zeros(2, 5).scatter_(1, j, 1.0), (J,)),
    *[
        Case(
            f"scatter_reduce {r} {i}",
            lambda x, g, s, r=r, i=i: x.scatter_reduce(1, g, s, r, include_self=i),
            (X, G, S),
            plain=r == "prod",
        )
        for r in ("sum", "prod", "mean", "amax", "amin")
        for i in (True, False)
    ],
    Case("put", lambda x, i, v: put(x, i, value=v, accumulate=False), (X, torch.tensor([3, 0]), S[:1, :1])),
    Case("put accumulate", lambda x, i, s: put(x, i, value=s, accumulate=True), (X, AT, SRC)),
    Case("put two accumulate", lambda x, i, s: put(x, i, i, value=s, accumulate=True), (X, AT, SRC[:, 0])),
    Case(
        "put two",
        lambda x, s: put(x, torch.tensor([3, 0]), torch.tensor([1, 2]), value=s, accumulate=False),
        (X, SRC[:2, 0]),
    ),
    Case("put scalar", lambda x, i: assigned(x, i, 5.0), (X, AT)),
    Case("put slice", lambda x, s: assigned(x, slice(1, 3), s), (X, SRC[:2])),
    Case("put stepped", lambda x, s: assigned(x, (slice(None), slice(0, 5, 2)), s), (X, SRC[:, :3])),
    Case("put middle", lambda x, i, s: assigned(x, (slice(None), torch.tensor([3, 0, 1, 2])), s), (X, AT, SRC[:, :4])),
    Case(
        "put apart",
        lambda x, s: assigned(x, (torch.tensor([3, 0]), slice(None), torch.tensor([2, 1])), s),
        (X, SRC[:2, :, 0]),
    ),
    Case(
        "put apart accumulate",
        lambda x, i, s: torch.ops.aten.index_put(x, [i, None, i % 3], s, True),
        (X, AT, SRC[:, :, 0]),
    ),
    Case(
        "put last",
        lambda x, s: torch.ops.aten.index_put(x, [None, None, torch.tensor([2, 0])], s, False),
        (X, SRC[:, :, :2]),
    ),
    Case("put mask scalar", lambda x, m: assigned(x, m, 0.5), (X, BOOL)),
    Case("put mask full", lambda x, m: assigned(x, m.unsqueeze(-1).expand(4, 5, 3), -1.0), (X, BOOL)),
    Case("put mask tensor", lambda x, m, v: assigned(x, m, v[0, 0, 0]), (X, BOOL, S)),
    Case("put integer index", lambda x, s: assigned(x, (2, 3), s), (X, SRC[0, 0])),
    Case("put negative", lambda x, s: assigned(x, K, s), (X, SRC)),
    Case("masked_scatter", lambda x, m, s: x.masked_scatter(m.unsqueeze(-1), s), (X, BOOL, SRC)),
    Case("mask times", lambda x, m: x * m.unsqueeze(-1), (X, BOOL)),
    Case("embedding", lambda t, i: F.embedding(i, t), (T, IDS)),
    Case("embedding padding", lambda t, i: F.embedding(i, t, padding_idx=3), (T, IDS)),
    Case("embedding frequency", lambda t, i: F.embedding(i, t, scale_grad_by_freq=True), (T, IDS)),
    Case("embedding int32", lambda t, i: F.embedding(i.int(), t), (T, IDS)),
    Case("embedding padding 0", lambda t, i: F.embedding(i, t, padding_idx=-6), (T, IDS)),
    *[
        Case(f"slice {s}", lambda x, s=s: x[s], (X,))
        for s in (slice(1, 3), slice(None, None, 2), slice(-2, None), slice(1, 100, 3), slice(3, 1))
    ][:4],
    Case("slice stepped", lambda x: x[:, 1::2], (X,)),
    Case("slice both", lambda x: x[::3, ::2, :2], (X,)),
    Case("slice scatter", lambda x, s: torch.slice_scatter(x, s, 1, 0, 5, 2), (X, SRC[:, :3])),
    Case("slice scatter end", lambda x, s: torch.slice_scatter(x, s, 0, -2), (X, SRC[:2])),
    Case("select scatter", lambda x, s: torch.select_scatter(x, s, 1, -2), (X, SRC[:, 0])),
    Case("diagonal scatter", lambda x, s: torch.diagonal_scatter(x, s), (SQ, V[:4])),
    Case("diagonal scatter off", lambda x, s: torch.diagonal_scatter(x, s, 1), (SQ, V[:3])),
    Case("as strided", lambda x: torch.as_strided(x, (3, 2), (2, 1), 1), (V,)),
    Case("as strided overlap", lambda x: torch.as_strided(x, (6, 3), (1, 1)), (V,)),
    Case("as strided matrix", lambda x: torch.as_strided(x, (4,), (5,)), (SQ,)),
    Case("as strided scatter", lambda x, s: torch.as_strided_scatter(x, s, (2, 2), (4, 2), 1), (V, SQ[:2, :2])),
    Case("diagonal", lambda x: x.diagonal(), (SQ,)),
    Case("diagonal off", lambda x: x.diagonal(-1), (SQ,)),
    Case("diagonal of axes", lambda x: x.diagonal(1, 0, 2), (X,)),
    Case("diag", torch.diag, (V,)),
    Case("diag embed", lambda x: torch.diag_embed(x, 1), (SQ,)),
    Case("diag of matrix", torch.diag, (SQ,)),
    Case("tril", torch.tril, (X,)),
    Case("triu", lambda x: torch.triu(x, 1), (X,)),
    Case("tril -1", lambda x: x.tril(-1), (SQ,)),
    Case("tril of bool", lambda x: torch.ones(4, 4, dtype=torch.bool).tril() & (x > 0), (SQ,)),
    Case("triu -inf", lambda x: x + torch.full((4, 4), float("-inf")).triu(1), (SQ,), plain=True),
    Case("tril indices", lambda x: x[tuple(torch.tril_indices(4, 4))], (SQ,)),
    Case("triu indices", lambda x: x[tuple(torch.triu_indices(4, 4, 1))], (SQ,)),
    Case("roll", lambda x: x.roll(2, 1), (X,)),
    Case("roll several", lambda x: x.roll((1, -2), (0, 1)), (X,)),
    Case("roll flat", lambda x: x.roll(3), (X,)),
    Case("roll back", lambda x: torch.roll(x, -7, 1), (X,)),
    Case("flip", lambda x: x.flip(0, 2), (X,)),
    Case("rot90", lambda x: torch.rot90(x, 1, (0, 1)), (X,)),
    Case("rot90 3", lambda x: torch.rot90(x, 3, (1, 2)), (X,)),
    Case("fliplr", torch.fliplr, (SQ,)),
    Case("unfold", lambda x: x.unfold(1, 3, 1), (X,)),
    Case("unfold stepped", lambda x: x.unfold(0, 3, 2), (V,)),
    Case("unfold negative", lambda x: x.unfold(-2, 2, 2), (X,)),
    Case("split", lambda x: x.split(2, 1), (X,)),
    Case("split sizes", lambda x: x.split([1, 4], 1), (X,)),
    Case("chunk", lambda x: x.chunk(2, 1), (X,)),
    Case("tensor_split", lambda x: x.tensor_split(3, 1), (X,)),
    Case("unsafe split", lambda x: torch.unsafe_split(x, 2, 1), (X,)),
    Case("unsafe chunk", lambda x: x.unsafe_chunk(2, 0), (X,)),
    Case("unbind", lambda x: x.unbind(1), (X,)),
    Case("split of one", lambda x: x.split(5, 1)[0] * 2, (X,)),
    Case("repeat_interleave", lambda x: x.repeat_interleave(2, 1), (X,)),
    Case("repeat_interleave flat", lambda x: x.repeat_interleave(3), (V,)),
    Case("expand", lambda x: x.unsqueeze(1).expand(4, 3, 5, 3), (X,)),
    Case("expand -1", lambda x: x[:1].expand(4, -1, -1), (X,)),
    Case("repeat", lambda x: x.repeat(2, 1, 1, 2), (X,)),
    Case("tile", lambda x: x.tile(2), (X,)),
    Case("broadcast_to", lambda x: torch.broadcast_to(x, (2, 8)), (V,)),
    Case("bucketize", lambda x: torch.bucketize(x, torch.tensor([-1.0, -0.3, 0.2, 1.1])), (X,)),
    Case("bucketize right", lambda x: torch.bucketize(x, torch.tensor([-1.0, -0.3, 0.2, 1.1]), right=True), (EDGES,)),
    Case("searchsorted", lambda x: torch.searchsorted(torch.tensor([-1.0, -0.3, 0.2, 1.1]), x), (EDGES,)),
    Case("searchsorted rows", lambda x, v: torch.searchsorted(x.sort(1).values, v), (SQ, SQ.flip(1))),
    Case("one_hot", lambda i: F.one_hot(i, 5), (AT,)),
    Case("one_hot float", lambda i: F.one_hot(i, 5).float() @ torch.ones(5, 2), (AT,)),
    Case("meshgrid", lambda x, y: torch.meshgrid(x, y, indexing="ij"), (V, EDGES)),
    Case("meshgrid xy", lambda x, y: torch.meshgrid(x, y, indexing="xy"), (V, EDGES)),
    Case("cartesian", lambda x, y: torch.cartesian_prod(x, y), (V, EDGES)),
    Case("stack", lambda x, y: torch.stack([x, y], 1), (X, Y)),
    Case("cat", lambda x, y: torch.cat([x, y], 1), (X, Y)),
    Case("cat mixed", lambda x, y: torch.cat([x, y]), (SQ[:3], N)),
    Case("hstack", lambda x, y: torch.hstack([x, y]), (X, Y)),
    Case("cat of empty", lambda x: torch.cat([x[:0], x]), (SQ,)),
    Case("block diag", torch.block_diag, (SQ, T)),
    Case("view", lambda x: x.view(2, 10, 3).flatten(1), (X,)),
    Case("view of transposed", lambda x: x.transpose(0, 1).contiguous().view(-1), (X,)),
    Case("reshape of transposed", lambda x: x.transpose(0, 2).reshape(5, -1), (X,)),
    Case("clone then view", lambda x: x.transpose(0, 1).clone(memory_format=torch.contiguous_format).view(20, 3), (X,)),
    Case("permute", lambda x: x.permute(2, 0, 1), (X,)),
    Case("movedim", lambda x: x.movedim(0, -1), (X,)),
    Case("swapaxes", lambda x: x.swapaxes(0, 2), (X,)),
    Case("squeeze", lambda x: x[:, :1].squeeze(1), (X,)),
    Case("squeeze all", lambda x: x[:1, :1].squeeze(), (X,)),
    Case("squeeze axes", lambda x: x[:1, :1].squeeze((0, 1)), (X,)),
    Case("unsqueeze", lambda x: x.unsqueeze(-1), (X,)),
    Case("unflatten", lambda x: x.unflatten(0, (2, 2)), (X,)),
    Case("ravel", torch.ravel, (X,)),
    Case("mT", lambda x: x.mT, (X,)),
    Case("narrow", lambda x: x.narrow(1, 1, 3), (X,)),
    Case("pixel shuffle", lambda x: F.pixel_shuffle(x, 2), (IMAGE,)),
    Case("pixel unshuffle", lambda x: F.pixel_unshuffle(x, 2), (IMAGE,)),
    Case("channel shuffle", lambda x: F.channel_shuffle(x, 2), (IMAGE,)),
    Case("arange", lambda x: x + torch.arange(8), (V,)),
    Case("arange float", lambda x: x * torch.arange(0, 4, 0.5), (V,)),
    Case("linspace", lambda x: x * torch.linspace(-1, 1, 8), (V,)),
    Case("logspace", lambda x: x * torch.logspace(0, 1, 8), (V,)),
    Case("eye", lambda x: x + torch.eye(4), (SQ,)),
    Case("full like", lambda x: x + torch.full_like(x, 3), (V,)),
    Case("new_ones", lambda x: x + x.new_ones(8), (V,)),
    Case("new_tensor", lambda x: x + x.new_tensor(2.0), (V,)),
    Case("scalar tensor", lambda x: x * torch.scalar_tensor(2.0), (V,)),
    Case("ones like", lambda x: torch.ones_like(x) + x, (V,)),
    Case("zeros of int", lambda x: x + torch.zeros(8, dtype=torch.long), (V,)),
    Case("empty then fill", lambda x: torch.empty(8).fill_(2) * x, (V,)),
    Case("zeros assigned", lambda x: torch.zeros(2, 8, dtype=x.dtype).index_copy(0, torch.tensor([1]), x[None]), (V,)),
    Case("isin", lambda i: torch.isin(i, torch.tensor([2, 3])), (AT,)),
    Case("new_zeros", lambda x: x.new_zeros(8) + x, (V,)),
    Case("pad constant", lambda x: F.pad(x, (1, 2), value=0.5), (X,)),
    Case("pad negative", lambda x: F.pad(x, (-1, 1)), (X,)),
    Case("pad cut", lambda x: F.pad(x, (-1, 0, -2, -1)), (X,)),
    Case("pad nothing", lambda x: F.pad(x, (0, 0)), (X,)),
    Case("pad integers", lambda x: F.pad(x, (1, 0, 0, 2), value=-4), (N,)),
    Case("pad booleans", lambda x: F.pad(x, (1, 2), value=True), (BOOL,)),
    Case("bag sum", lambda t, i: F.embedding_bag(i, t, mode="sum"), (T, IDS)),
    Case("bag mean", lambda t, i: F.embedding_bag(i, t, mode="mean"), (T, IDS)),
    Case("bag max", lambda t, i: F.embedding_bag(i, t, mode="max"), (T, IDS)),
    Case("bag weights", lambda t, i, w: F.embedding_bag(i, t, mode="sum", per_sample_weights=w), (T, IDS, SQ[:2])),
    Case("bag padding", lambda t, i: F.embedding_bag(i, t, mode="mean", padding_idx=3), (T, IDS)),
    Case(
        "causal mask", lambda x: x.masked_fill(torch.triu(torch.ones(4, 4), 1).bool(), float("-inf")).softmax(-1), (SQ,)
    ),
    Case("relative shift", lambda x: F.pad(x, (1, 0)).view(5, 4)[1:].view(4, 4), (SQ,)),
    Case("diag of product", lambda x: (x @ x.t()).diagonal(), (SQ,)),
    Case(
        "triu assigned",
        lambda x: torch.zeros(4, 4, dtype=x.dtype).index_put(
            tuple(torch.triu_indices(4, 4, 1)), x[:6], accumulate=False
        ),
        (V,),
    ),
    Case("cumulative positions", lambda i: (i != 1).int().cumsum(1).long() * (i != 1), (IDS,)),
    Case("nn.Unflatten", nn.Unflatten(1, (5, 1)), (X,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
