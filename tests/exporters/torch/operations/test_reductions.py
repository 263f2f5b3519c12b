"""Reductions: values and gradients of the exported graph against PyTorch in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from support.operations import Case, compare, tensors

X = tensors((3, 4, 2))[0]
P = tensors((3, 4, 2), seed=1, low=0.2, high=1.8)[0]
N = torch.tensor([[-7, -3, 0, 5], [2, -1, 9, 4], [-8, 6, 1, 3]])
B = N > 0
TIES = torch.tensor([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0], [-1.0, -1.0, 0.0, -2.0]])
NANS = torch.tensor([[1.0, float("nan"), 2.0], [0.5, -1.0, 3.0]])
ZEROS = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [2.0, 1.5, 3.0]])

WAYS = {"all": {}, "0": {"dim": 0}, "-1": {"dim": -1}, "1 kept": {"dim": 1, "keepdim": True}}
SEVERAL = {"0 2": {"dim": (0, 2)}, "0 1 kept": {"dim": (0, 1), "keepdim": True}}
CASES = []
for name in ("sum", "mean", "var", "std", "amax", "amin", "nansum"):
    for way, options in {**WAYS, **SEVERAL}.items():
        CASES.append(Case(f"{name} {way}", lambda x, n=name, o=options: getattr(torch, n)(x, **o), (X,)))
for name in ("prod",):
    for way, options in WAYS.items():
        CASES.append(Case(f"{name} {way}", lambda x, n=name, o=options: getattr(torch, n)(x, **o), (P,)))
for name in ("max", "min", "median", "argmax", "argmin", "cummax", "cummin", "aminmax", "sort", "argsort"):
    for way, options in {"0": {"dim": 0}, "-1": {"dim": -1}}.items():
        CASES.append(
            Case(
                f"{name} {way}",
                lambda x, n=name, o=options: tuple(r) if isinstance(r := getattr(torch, n)(x, **o), tuple) else r,
                (X,),
            )
        )
for name in ("cumsum", "logcumsumexp"):  # the gradient of cumprod takes the place of the first zero, of a bool
    CASES += [Case(f"{name} {d}", lambda x, n=name, d=d: getattr(torch, n)(x, d), (P,)) for d in (0, 1, -1)]
for p in (0, 1, 2, 3, 0.5, float("inf"), -float("inf")):
    CASES += [
        Case(f"vector norm {p}", lambda x, p=p: torch.linalg.vector_norm(x, p), (X,)),
        Case(f"vector norm {p} of an axis", lambda x, p=p: torch.linalg.vector_norm(x, p, dim=1, keepdim=True), (X,)),
        Case(f"norm {p}", lambda x, p=p: x.norm(p, dim=-1), (X,)),
    ]
CASES += [
    Case("mean of integers as float", lambda x: x.float().mean(), (N,)),
    Case("sum of integers", torch.sum, (N,)),
    Case("sum of bool", lambda x: x.sum(1), (B,)),
    Case("sum of int32", lambda x: x.int().sum(), (N,)),
    Case("prod of integers", lambda x: x.prod(1), (N,)),
    Case("mean dtype", lambda x: x.mean(1, dtype=torch.float32), (N,)),
    Case("sum dtype", lambda x: x.sum(0, dtype=torch.float32), (N,)),
    Case("cumsum of integers", lambda x: x.cumsum(1), (N,)),
    Case("cumsum of bool", lambda x: x.cumsum(1), (B,)),
    Case("var 0", lambda x: x.var(1, correction=0), (X,)),
    Case("var biased", lambda x: x.var(unbiased=False), (X,)),
    Case("var mean", lambda x: torch.var_mean(x, 1, correction=0, keepdim=True), (X,)),
    Case("std mean", lambda x: torch.std_mean(x, -1), (X,)),
    Case("std correction 2", lambda x: torch.std(x, 0, correction=2), (X,)),
    Case("max all", torch.max, (X,)),
    Case("min all", torch.min, (X,)),
    Case("max all ties", torch.max, (TIES,)),
    Case("amax ties", lambda x: x.amax(1), (TIES,)),
    Case("amin ties all", lambda x: x.amin(), (TIES,)),
    Case("max ties", lambda x: tuple(x.max(1)), (TIES,)),
    Case("min ties", lambda x: tuple(x.min(0)), (TIES,)),
    Case("argmax all", torch.argmax, (X,)),
    Case("argmin kept", lambda x: x.argmin(1, keepdim=True), (X,)),
    Case("argmax ties", lambda x: x.argmax(1), (TIES,)),
    Case("argmax of integers", lambda x: x.argmax(1), (N,)),
    Case("max of integers", lambda x: tuple(x.max(1)), (N,)),
    Case("amax of integers", lambda x: x.amax(0), (N,)),
    Case("median all", torch.median, (X,)),
    Case("aminmax all", lambda x: tuple(torch.aminmax(x)), (X,)),
    Case("median ties", lambda x: x.median(1).values, (TIES,)),
    Case("kthvalue", lambda x: tuple(x.kthvalue(2, 1)), (X,)),
    Case("kthvalue kept", lambda x: tuple(x.kthvalue(3, 1, keepdim=True)), (X,)),
    Case("topk", lambda x: tuple(x.topk(2, 1)), (X,)),
    Case("topk smallest", lambda x: tuple(x.topk(3, 1, largest=False)), (X,)),
    Case("topk of integers", lambda x: tuple(x.topk(2)), (N,)),
    Case("sort descending", lambda x: tuple(x.sort(1, descending=True)), (X,)),
    Case("sort stable", lambda x: tuple(torch.sort(x, stable=True, dim=1)), (TIES,)),
    Case("sort descending stable", lambda x: tuple(torch.sort(x, stable=True, descending=True, dim=1)), (TIES,)),
    Case("argsort ties", lambda x: torch.argsort(x, stable=True, dim=1), (TIES,)),
    Case("sort of integers", lambda x: tuple(x.sort(1)), (N,)),
    Case("msort", torch.msort, (X,)),
    Case("logsumexp", lambda x: x.logsumexp(1), (X,)),
    Case("logsumexp kept", lambda x: torch.logsumexp(x, (0, 2), keepdim=True), (X,)),
    Case("logsumexp of -inf", lambda x: x.masked_fill(x > 0.5, float("-inf")).logsumexp(1), (X,)),
    Case("all", lambda x: x.all(), (B,)),
    Case("any", lambda x: x.any(), (B,)),
    Case("all of an axis", lambda x: x.all(1), (B,)),
    Case("any kept", lambda x: x.any(0, keepdim=True), (B,)),
    Case("any of floats", lambda x: x.any(1), (ZEROS,)),
    Case("all of axes", lambda x: torch.all(x, (0, 1)), (N,)),
    Case("prod with zeros", lambda x: x.prod(1), (ZEROS,)),
    Case("prod with zeros all", lambda x: x.prod(), (ZEROS,)),
    Case("cumprod with zeros", lambda x: x.cumprod(1), (ZEROS,), plain=True),
    Case("nansum", lambda x: torch.nansum(x, 1), (NANS,)),
    Case("nanmean", lambda x: torch.nanmean(x, 1), (NANS,)),
    Case("norm of zero", lambda x: torch.linalg.vector_norm(x * 0, dim=1), (X,)),
    Case("norm all", lambda x: x.norm(), (X,)),
    Case("frobenius", lambda x: torch.linalg.matrix_norm(x), (X,)),
    Case("matrix norm 1", lambda x: torch.linalg.matrix_norm(x, 1), (X,)),
    Case("count_nonzero", lambda x: torch.count_nonzero(x, 1), (ZEROS,)),
    Case("dist", lambda x, y: torch.dist(x, y), (X, P)),
    Case("renorm", lambda x: torch.renorm(x, 2, 0, 1.0), (X,)),
    Case("diff", lambda x: torch.diff(x, dim=1), (X,)),
    Case("trapezoid", lambda x: torch.trapezoid(x, dim=1), (X,)),
    Case("histogram by one hot", lambda x: F.one_hot(x.abs() % 4, 4).sum((0, 1)), (N,)),
    Case("equal to the largest", lambda x: (x == x.amax(1, keepdim=True)).sum(), (X,)),
    Case("rms norm", lambda x: F.rms_norm(x, (2,), torch.ones(2, dtype=x.dtype)), (X,)),
    Case("layer norm", lambda x, w: F.layer_norm(x.flatten(1), (8,), w[0].flatten(), w[1].flatten()), (X, P)),
    Case("scalar sum", lambda x: x[0, 0, 0].sum(), (X,)),
    Case("cumsum reversed", lambda x: x.flip(1).cumsum(1).flip(1), (X,)),
    Case(
        "softmax by hand",
        lambda x: (
            (x - x.max(-1, keepdim=True).values).exp()
            / (x - x.max(-1, keepdim=True).values).exp().sum(-1, keepdim=True)
        ),
        (X,),
    ),
    Case("nn.RMSNorm", nn.RMSNorm(2, elementwise_affine=False), (X,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
