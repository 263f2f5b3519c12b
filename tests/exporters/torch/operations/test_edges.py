"""Tensors without axes or elements, mixed element types, kinks, poles and the ends of ranges, with their gradients."""

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
IDS = torch.tensor([[1, 5, 1, 0], [3, 3, 3, 2]])
TABLE = tensors((7, 3), seed=4)[0]
OFFSETS = torch.tensor([0, 3, 3])
SCALAR = torch.tensor(1.5)

CASES = [
    Case("0-d softmax", lambda s: torch.softmax(s, 0) + torch.log_softmax(s, 0), (SCALAR,)),
    Case("0-d sum", lambda s: s.sum() + s.mean() + s.amax() + s.cumsum(0), (SCALAR,)),
    Case("0-d argmax", lambda s: s.argmax(), (SCALAR,)),
    Case("0-d topk", lambda s: tuple(s.topk(1)), (SCALAR,)),
    Case("0-d sort", lambda s: tuple(s.sort()), (SCALAR,)),
    Case("0-d norm", lambda s: s.norm(), (SCALAR,)),
    Case("empty cat", lambda x: torch.cat([x[:0], x], 0), (M,)),
    Case("empty sum", lambda x: x[:0].sum(0), (M,)),
    Case("empty prod", lambda x: x[:0].prod(), (M,)),
    Case("cat mixed types", lambda x, n: torch.cat([x[:3, :4], n], 0), (M, N)),
    Case("stack mixed", lambda x, n: torch.stack([x[0, :4], n[0]]), (M, N)),
    Case("pow negative base", lambda x: (x.abs() + 0.1) ** x, (M,)),
    Case("pow 0 base", lambda x: x**2.0, (torch.tensor([0.0, 1.0, -2.0]),)),
    Case("pow 0.5 at 0", lambda x: x**1.5, (torch.tensor([0.0, 1.0, 2.0]),)),
    Case("scalar pow int tensor", lambda n: 2 ** n.abs(), (N,)),
    Case("float tensor ** int tensor", lambda x, n: x[:3, :4] ** n.abs(), (M, N)),
    Case("int ** float", lambda n: n.abs() ** 0.5, (N,)),
    Case("div int int", lambda n: n / 4, (N,)),
    Case("div int by 0-d", lambda n, s: n / s, (N, SCALAR)),
    Case("int + 0-d float", lambda n, s: n + s, (N, SCALAR)),
    Case("float + int 0-d", lambda x, n: x * n.sum(), (M, N)),
    Case("int * 0.5", lambda n: n * 0.5, (N,)),
    Case("bool.sum/", lambda b: b.sum() / b.numel(), (B,)),
    Case("bool mean", lambda b: b.float().mean(), (B,)),
    Case("bool & int", lambda b, n: b & (n > 1), (B, N)),
    Case("bool - via", lambda b: (~b).int() - b.int(), (B,)),
    Case("bool < bool", lambda b: b.int() < (~b).int(), (B,)),
    Case("bool eq", lambda b: b == ~b, (B,)),
    Case("bool max", lambda b: torch.maximum(b, ~b), (B,)),
    Case("bool cumsum", lambda b: b.cumsum(1), (B,)),
    Case("bool prod", lambda b: b.prod(1), (B,)),
    Case("sum uint8", lambda b: b.to(torch.uint8).sum(), (B,)),
    Case("int mean", lambda n: n.to(torch.float32).mean(1), (N,)),
    Case("abs int32", lambda n: n.int().abs(), (N,)),
    Case("neg int", lambda n: -n, (N,)),
    Case("clamp int tensor", lambda n, m: n.clamp(max=m), (N, N.flip(0))),
    Case("compare int float", lambda n: n > 0.5, (N,)),
    Case("compare int32 int64", lambda n: n.int() == n, (N,)),
    Case("where int bool", lambda b, n: torch.where(b, n, 0), (B, N)),
    Case("masked_fill inf", lambda x: x.masked_fill(x > 0, float("-inf")).softmax(1), (M,)),
    Case("float64 cast", lambda x: (x.double() * 2).float(), (M,)),
    Case("half cast", lambda x: x.half().float(), (torch.tensor([1.0, 2.0, -0.5]),)),
    Case("to int8", lambda n: n.to(torch.int8).to(torch.int64), (N,)),
    Case("round half", lambda x: x.round(), (torch.tensor([0.5, 1.5, 2.5, -0.5]),)),
    Case("fmod neg", lambda x, y: torch.fmod(x, y), (M, M.flip(0))),
    Case("remainder neg", lambda x, y: torch.remainder(x, y), (M, M.flip(0))),
    Case("rem int neg scalar", lambda n: n.remainder(-3), (N,)),
    Case("floor_divide int32", lambda n: n.int() // -3, (N,)),
    Case("fmod int", lambda n: torch.fmod(n, 3), (N,)),
    Case("trunc neg", lambda x: x.trunc(), (M,)),
    Case("bitshift", lambda n: n.abs() << 1 | 1, (N,)),
    Case("log1p small", lambda x: torch.log1p(x * 1e-06) * 1000000.0, (P,)),
    Case("expm1 small", lambda x: torch.expm1(x * 1e-06) * 1000000.0, (P,)),
    Case("log_sigmoid wide", lambda x: F.logsigmoid(x * 40), (M,)),
    Case("softplus wide", lambda x: F.softplus(x * 40), (M,)),
    Case("sinh small", lambda x: torch.sinh(x * 0.0001) * 10000.0, (P,)),
    Case("erfinv", lambda x: torch.erfinv(x), (P,)),
    Case("erfc wide", lambda x: torch.erfc(x * 2), (M,)),
    Case("tanh small", lambda x: torch.tanh(x * 1e-05) * 100000.0, (P,)),
    Case("atan2 quadrants", torch.atan2, (M, M.flip(0))),
    Case("sinc 0", torch.sinc, (torch.tensor([0.0, 0.5, -1.0, 2.3]),)),
    Case("angle", lambda x: torch.angle(x), (M,), plain=True),
    Case("logaddexp inf", lambda x: torch.logaddexp(x, torch.full_like(x, float("-inf"))), (M,)),
    Case("log_softmax wide", lambda x: F.log_softmax(x * 100, 1), (M,)),
    Case("gelu wide", lambda x: F.gelu(x * 5), (M,)),
    Case("exponents", lambda x: torch.ldexp(x, torch.tensor(3)), (M,)),
    Case("lerp w", lambda x, y: torch.lerp(x, y, 0.25), (M, P)),
    Case("copysign", lambda x, y: torch.copysign(x, y), (M, M.flip(0))),
    Case("nextafter free", lambda x: torch.special.expit(x) + torch.special.log1p(x.abs()), (M,)),
    Case("rsqrt int", lambda n: n.abs().add(1).rsqrt(), (N,)),
    Case("xlogy 0 0", lambda x: torch.xlogy(x, x), (torch.tensor([0.0, 1.0, 2.0]),), plain=True),
    Case("clamp equal bounds", lambda x: x.clamp(0.5, 0.5), (M,)),
    Case("clamp min>max", lambda x: x.clamp(1.0, 0.0), (M,)),
    Case("relu6 kinks", F.relu6, (torch.tensor([0.0, 6.0, 3.0, -1.0, 7.0]),)),
    Case("hardtanh kinks", F.hardtanh, (torch.tensor([-1.0, 1.0, 0.3]),)),
    Case("abs kink", lambda x: x.abs(), (torch.tensor([0.0, 1.0, -1.0]),)),
    Case("max kink relu", lambda x: torch.maximum(x, torch.zeros_like(x)), (torch.tensor([0.0, 1.0, -1.0]),)),
    Case("clamp kink", lambda x: x.clamp(min=0), (torch.tensor([0.0, 1.0, -1.0]),)),
    Case("bag", lambda t: F.embedding_bag(IDS, t, mode="mean"), (TABLE,)),
    Case("bag max", lambda t: F.embedding_bag(IDS, t, mode="max"), (TABLE,)),
    Case("bag pad", lambda t: F.embedding_bag(IDS, t, mode="sum", padding_idx=3), (TABLE,)),
    Case("bag offsets", lambda t, o: F.embedding_bag(IDS.reshape(-1), t, o, mode="mean"), (TABLE, OFFSETS)),
    Case("bag offsets max", lambda t, o: F.embedding_bag(IDS.reshape(-1), t, o, mode="max"), (TABLE, OFFSETS)),
    Case("embedding max_norm", lambda t: F.embedding(IDS, t * 1, max_norm=1.0), (TABLE,), plain=True),
    Case("linspace", lambda x: x[0] * torch.linspace(0, 1, 6, dtype=x.dtype), (M,)),
    Case("arange float", lambda x: x[0] * torch.arange(0, 3, 0.5, dtype=x.dtype), (M,)),
    Case("logspace", lambda x: x[0] * torch.logspace(0, 1, 6, dtype=x.dtype), (M,)),
    Case("eye", lambda x: x[:, :4] @ torch.eye(4, dtype=x.dtype), (M,)),
    Case("zeros_like int", lambda n: torch.zeros_like(n) + torch.ones_like(n, dtype=torch.float32), (N,)),
    Case("new_tensor", lambda x: x + x.new_tensor([1.0, 2, 3, 4, 5, 6]), (M,)),
    Case("full_like inf", lambda x: torch.maximum(torch.full_like(x, float("-inf")), x), (M,)),
    Case("hann", lambda x: x[0] * torch.hann_window(6, dtype=x.dtype), (M,)),
    Case("trapz", lambda x: torch.trapezoid(x, dx=0.5), (M,)),
    Case("diff n2", lambda x: torch.diff(x, 2), (M,)),
    Case("cross", lambda x, y: torch.cross(x, y, dim=2), (X, Y)),
    Case("cov", torch.cov, (M,)),
    Case("kron", torch.kron, (M[:2, :2], P[:3, :2])),
    Case("cum trapz", lambda x: torch.cumulative_trapezoid(x), (M,)),
    Case("gradient", lambda x: list(torch.gradient(x[0])), (M,)),
    Case("polar free", lambda x: torch.hypot(x, x + 1), (M,)),
    Case("movedim", lambda x: x.movedim(0, 2), (X,)),
    Case("swapaxes", lambda x: x.swapaxes(0, 2), (X,)),
    Case("expand_as", lambda v, x: v[:3].expand_as(x) * x, (V, X)),
    Case("take_along", lambda x: x.take_along_dim(x.argsort(1), 1), (M,)),
    Case("count_nonzero", lambda n: torch.count_nonzero(n), (N,)),
    Case("std_mean", lambda x: tuple(torch.std_mean(x, 1)), (M,)),
    Case("nan_to_num", lambda x: torch.nan_to_num(x), (M,)),
    Case("bernoulli free", lambda x: x.sign().relu(), (M,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
