"""Scans, order statistics, norms at zero, distances and products of every shape, with their gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from support.operations import Case, compare, tensors

X, Y = tensors((4, 5, 3), (4, 5, 3))
M = tensors((4, 6), seed=9)[0]
P = tensors((4, 6), seed=2, low=0.1, high=0.9)[0]
V = tensors((7,), seed=3)[0]
N = torch.tensor([[-7, -3, 0, 5], [2, -1, 9, 4], [-8, 6, 1, 3]])
B = N > 0
T = torch.tensor([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])

CASES = [
    Case("cumsum rev", lambda x: torch.cumsum(x.flip(-1), -1).flip(-1), (X,)),
    Case("cumprod 0", lambda x: torch.cumprod(x, 1), (torch.tensor([[1.0, 0.0, 2.0, 3.0], [2.0, 0.5, 0.0, 0.0]]),)),
    Case("cumprod neg", lambda x: torch.cumprod(x, 0), (M,)),
    Case("cummax ties", lambda x: tuple(x.cummax(1)), (T,)),
    Case("cummin", lambda x: tuple(x.cummin(0)), (M,)),
    Case("logcumsumexp wide", lambda x: torch.logcumsumexp(x * 30, 1), (M,)),
    Case("prod zeros", lambda x: x.prod(1), (torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [4.0, 5.0, 2.0]]),)),
    Case("median even", lambda x: x.median(1).values, (M,)),
    Case("nanmedian", lambda x: x.nanmedian(), (M,)),
    Case("quantile vec", lambda x: torch.quantile(x, torch.tensor([0.1, 0.5, 0.9], dtype=x.dtype), 1), (M,)),
    Case("quantile nearest", lambda x: torch.quantile(x, 0.4, 1, interpolation="nearest"), (M,)),
    Case("mode", lambda n: n.mode(1).values, (N,)),
    Case("argsort desc", lambda x: x.argsort(1, descending=True), (M,)),
    Case("max pair", lambda x, y: torch.max(x, y), (M, M.flip(1))),
    Case("max int dim", lambda n: tuple(n.int().max(0)), (N,)),
    Case("argmax int32", lambda n: n.int().argmax(1), (N,)),
    Case("max bool", lambda b: b.max(1).values, (B,)),
    Case("any int8", lambda b: b.to(torch.uint8).any(), (B,)),
    Case("aminmax dim", lambda x: tuple(torch.aminmax(x, dim=1, keepdim=True)), (M,)),
    Case("var one elem", lambda x: x.var(1, correction=0), (M[:, :1],)),
    Case("std zero grad", lambda x: x.std(1, correction=0), (M,)),
    Case("logsumexp 2 axes", lambda x: x.logsumexp((0, 1)), (X,)),
    Case("norm p0.5", lambda x: x.norm(0.5), (P,)),
    Case("norm zero row", lambda x: (x * torch.tensor([1.0, 0, 1, 1]).to(x.dtype)[:, None]).norm(dim=1), (M,)),
    Case("norm inf ties", lambda x: torch.linalg.vector_norm(x, float("inf"), 1), (T,)),
    Case("norm -inf", lambda x: torch.linalg.vector_norm(x, -float("inf"), 1), (M,)),
    Case(
        "norm p3 with zeros",
        lambda x: torch.linalg.vector_norm(x, 3, 1),
        (torch.tensor([[0.0, 1.0, -2.0], [0.5, 0.0, 0.0]]),),
    ),
    Case(
        "norm p1.5 zeros",
        lambda x: torch.linalg.vector_norm(x, 1.5, 1),
        (torch.tensor([[0.0, 1.0, -2.0], [0.5, 0.0, 0.0]]),),
    ),
    Case("renorm", lambda x: x.renorm(2, 0, 1.0), (M,)),
    Case("normalize zero", lambda x: F.normalize(x * 0, dim=1), (M,)),
    Case("cosine zero", lambda x, y: F.cosine_similarity(x * 0, y), (M, P)),
    Case("nuclear diag", lambda x: torch.linalg.matrix_norm(x, float("inf")), (M,)),
    Case(
        "clip norm",
        lambda x, y: [x * (1.0 / torch.linalg.vector_norm(torch.stack([x.norm(), y.norm()])).clamp(min=1.0)), y],
        (M, P),
    ),
    Case("cdist same points", lambda a: torch.cdist(a, a), (M,)),
    Case("cdist p1 same", lambda a: torch.cdist(a, a, p=1), (M,)),
    Case("cdist p4", lambda a, b: torch.cdist(a, b, p=4), (M, P)),
    Case("cdist big mm", lambda a: torch.cdist(a, a * 0.5 + 1), (tensors((30, 3), seed=8)[0],)),
    Case("cdist p0", lambda a, b: torch.cdist(a, b, p=0), (M, P), plain=True),
    Case("pairwise p1", lambda a, b: F.pairwise_distance(a, b, p=1), (M, P)),
    Case("pdist p1", lambda a: F.pdist(a, 1), (M,)),
    Case("bmm ints", lambda n: n[None].bmm(n.t()[None]), (N,)),
    Case("matmul int32", lambda n: n.int() @ n.int().t(), (N,)),
    Case("matmul 1d", lambda v: v @ v, (V,)),
    Case("mv", lambda m, p: m @ p[0], (M, P)),
    Case("vm", lambda m, p: p[:, 0] @ m, (M, P)),
    Case("batch mv", lambda x, v: x @ v[:3], (X, V)),
    Case("broadcast bmm", lambda x, y: x[None] @ y.transpose(1, 2)[:, None][:1], (X, Y)),
    Case("bilinear", lambda a, b, w: F.bilinear(a, b, w), (M, P, tensors((2, 6, 6), seed=5)[0])),
    Case("einsum trace", lambda m: torch.einsum("ii->i", m[:, :4]), (M,)),
    Case("einsum 3", lambda a, b, cc: torch.einsum("bi,bj,ijk->bk", a, b, cc), (M, P, tensors((6, 6, 2), seed=5)[0])),
    Case("baddbmm beta", lambda x, y: torch.baddbmm(x, x[:, :, :2], x[:, :2], beta=0.5, alpha=2), (X, Y)),
    Case("baddbmm beta 0", lambda x: torch.baddbmm(x * float("inf"), x[:, :, :2], x[:, :2], beta=0), (X,), plain=True),
    Case("addmm int alpha", lambda a, b: torch.addmm(a[:, :4], a, b.t(), beta=2, alpha=0.5), (M, P)),
    Case("addmv", lambda a, b: torch.addmv(a[:, 0], a, b[0], beta=0.5), (M, P)),
    Case("addr", lambda a, b: torch.addr(a, a[:, 0], b[0], alpha=3), (M, P)),
    Case("outer", torch.outer, (V, V[:3])),
    Case("inner", torch.inner, (M, P)),
    Case("vecdot", torch.linalg.vecdot, (M, P)),
    Case("matrix_power neg", lambda x: torch.linalg.matrix_power(x[:, :4], 2), (M,)),
    Case("chain_matmul", lambda a, b: torch.chain_matmul(a, b.t(), a), (M, P)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
