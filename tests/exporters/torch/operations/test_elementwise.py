"""Elementwise arithmetic: values and gradients of the exported graph against PyTorch in float64."""

from __future__ import annotations

import pytest
import torch

from support.operations import Case, compare, tensors

X, Y, Z = tensors((3, 4), (3, 4), (3, 4))
P, Q = tensors((3, 4), (3, 4), seed=1, low=0.1, high=2.0)
U = tensors((3, 4), seed=2, low=-0.9, high=0.9)[0]
N = torch.tensor([[-7, -3, 0, 5], [2, -1, 9, 4], [-8, 6, 1, 3]])
M = torch.tensor([[2, -2, 3, -3], [5, 4, -7, 1], [3, 4, -1, 2]])
B = N > 0
ROW = tensors((4,), seed=3)[0]
HALVES = torch.tensor([-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.0])
SPECIAL = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0, -2.0, 0.0])
I32 = N.int()

UNARY = {
    "abs": X,
    "neg": X,
    "exp": X,
    "exp2": X,
    "expm1": X,
    "log": P,
    "log2": P,
    "log10": P,
    "log1p": P,
    "sqrt": P,
    "rsqrt": P,
    "square": X,
    "reciprocal": P,
    "sin": X,
    "cos": X,
    "tan": U,
    "asin": U,
    "acos": U,
    "atan": X,
    "sinh": X,
    "cosh": X,
    "asinh": X,
    "atanh": U,
    "erf": X,
    "erfc": X,
    "erfinv": U,
    "sigmoid": X,
    "logit": Q / 2.1,
    "sign": X,
    "sgn": X,
    "floor": X,
    "ceil": X,
    "round": X,
    "trunc": X,
    "frac": X,
    "sinc": X,
    "isnan": SPECIAL,
    "isinf": SPECIAL,
    "isfinite": SPECIAL,
    "isposinf": SPECIAL,
    "isneginf": SPECIAL,
    "signbit": X,
    "deg2rad": X,
    "positive": X,
    "acosh": P + 1,
    "relu": X,
    "tanh": X,
}
CASES = [Case(name, getattr(torch, name), (x,)) for name, x in UNARY.items()]
CASES += [
    Case(f"{name} of integers", getattr(torch, name), (abs(M),))
    for name in [
        "abs",
        "neg",
        "exp",
        "log",
        "sqrt",
        "rsqrt",
        "square",
        "reciprocal",
        "sin",
        "cos",
        "tan",
        "atan",
        "erf",
        "sigmoid",
        "sign",
        "sgn",
        "floor",
        "log1p",
        "exp2",
        "tanh",
    ]
]
CASES += [
    Case(f"{name} halves", getattr(torch, name), (HALVES,))
    for name in ["floor", "ceil", "round", "trunc", "frac", "abs", "sign"]
]
_PAIRS = """add sub mul div maximum minimum fmod remainder atan2 hypot logaddexp
logaddexp2 fmax fmin copysign eq ne lt le gt ge"""
for name in _PAIRS.split():
    operation = getattr(torch, name)
    CASES.append(Case(name, operation, (X, Y)))
    CASES.append(Case(f"{name} row", operation, (X, ROW)))
    if name not in ("fmax", "fmin"):  # theirs asks an integer whether it is a number, which ONNX refuses
        CASES.append(Case(f"{name} float, integer", operation, (X, M)))
    if name not in ("hypot", "logaddexp", "logaddexp2"):
        CASES.append(Case(f"{name} integer, integer", operation, (N, M)))
        CASES.append(Case(f"{name} int32, integer", operation, (I32, M)))
    if name not in ("hypot", "logaddexp", "logaddexp2", "atan2", "maximum", "minimum", "fmax", "fmin"):
        CASES.append(Case(f"{name} integer, 2", lambda a, o=operation: o(a, 2), (N,)))
        CASES.append(Case(f"{name} 1.5", lambda a, o=operation: o(a, 1.5), (X,)))
        CASES.append(Case(f"{name} -1.5", lambda a, o=operation: o(a, -1.5), (X,)))
        CASES.append(Case(f"{name} integer, 1.5", lambda a, o=operation: o(a, 1.5), (N,)))
        CASES.append(Case(f"{name} float, bool", lambda a, b, o=operation: o(a, b.to(a.dtype)), (X, B)))
for mode in (None, "trunc", "floor"):
    CASES += [
        Case(f"div {mode}", lambda a, b, m=mode: torch.div(a, b, rounding_mode=m), (X, Y)),
        Case(f"div integer {mode}", lambda a, b, m=mode: torch.div(a, b, rounding_mode=m), (N, M)),
        Case(f"div mixed {mode}", lambda a, b, m=mode: torch.div(a, b, rounding_mode=m), (X, M)),
        Case(f"div integer, 3 {mode}", lambda a, m=mode: torch.div(a, 3, rounding_mode=m), (N,)),
        Case(f"div integer, -3 {mode}", lambda a, m=mode: torch.div(a, -3, rounding_mode=m), (N,)),
        Case(f"div by 0.75 {mode}", lambda a, m=mode: torch.div(a, 0.75, rounding_mode=m), (X,)),
    ]
CASES += [
    Case("bool + float", lambda a, b: a + b, (B, X)),
    Case("bool * float", lambda a, b: a * b, (X, B)),
    Case("bool + integer", lambda a, b: a + b, (B, N)),
    Case("bool * 2", lambda a: a * 2, (B,)),
    Case("bool + bool", lambda a: a + a, (B,)),
    Case("bool * 0.5", lambda a: a * 0.5, (B,)),
    Case("1 - bool", lambda a: 1 - a.long(), (B,)),
    Case("1.0 - integer", lambda a: 1.0 - a, (N,)),
    Case("rsub", lambda a: 2 - a, (X,)),
    Case("rsub alpha", lambda a, b: torch.rsub(a, b, alpha=3), (X, Y)),
    Case("add alpha", lambda a, b: torch.add(a, b, alpha=0.3), (X, Y)),
    Case("sub alpha", lambda a, b: torch.sub(a, b, alpha=2), (N, M)),
    Case("add to a number", lambda a: torch.add(0.5, a, alpha=0.3), (X,)),
    Case("add to a number mixed", lambda a: torch.add(0.5, a, alpha=0.3), (M,)),
    Case("add alpha mixed", lambda a, b: torch.add(a, b, alpha=0.3), (X, M)),
    Case("integer // 2", lambda a: a // 2, (N,)),
    Case("integer // integer", lambda a, b: a // b, (N, M)),
    Case("float // float", lambda a, b: a // b, (X, Y), plain=True),
    Case("float // 0.3", lambda a: a // 0.3, (X,), plain=True),
    Case("integer % 3", lambda a: a % 3, (N,)),
    Case("integer % -3", lambda a: a % -3, (N,)),
    Case("float % 0.7", lambda a: a % 0.7, (X,)),
    Case("float % -0.7", lambda a: a % -0.7, (X,)),
    Case("5 % integer", lambda a: torch.remainder(5, a), (M,)),
    Case("addcmul", lambda a, b, c: torch.addcmul(a, b, c), (X, Y, Z)),
    Case("addcmul value", lambda a, b, c: torch.addcmul(a, b, c, value=0.5), (X, Y, Z)),
    Case("addcdiv", lambda a, b, c: torch.addcdiv(a, b, c), (X, Y, P)),
    Case("addcdiv value", lambda a, b, c: torch.addcdiv(a, b, c, value=-2), (X, Y, P)),
    Case("lerp 0.3", lambda a, b: torch.lerp(a, b, 0.3), (X, Y)),
    Case("lerp 0.8", lambda a, b: torch.lerp(a, b, 0.8), (X, Y)),
    Case("lerp tensor", torch.lerp, (X, Y, Q)),
    *[Case(f"pow {e}", lambda a, e=e: a**e, (P,)) for e in (0, 1, 2, 3, 0.5, -0.5, -1, -2, 1.7)],
    *[Case(f"pow of negative {e}", lambda a, e=e: a**e, (X,)) for e in (0, 1, 2, 3, 4)],
    *[Case(f"pow of integer {e}", lambda a, e=e: a**e, (N,)) for e in (0, 1, 2, 3, 0.0, 2.0)],
    Case("pow tensor", torch.pow, (P, X)),
    Case("pow integer tensor", torch.pow, (X, abs(M))),
    Case("2 ** x", lambda a: 2**a, (X,)),
    Case("0.9 ** x", lambda a: 0.9**a, (X,)),
    Case("2 ** integer", lambda a: 2**a, (abs(M),)),
    Case("0.5 ** integer", lambda a: 0.5**a, (M,)),
    Case("float_power", lambda a: torch.float_power(a, 2).float(), (N,)),
    Case("clamp", lambda a: a.clamp(-0.5, 1), (X,)),
    Case("clamp min", lambda a: a.clamp(min=0.2), (X,)),
    Case("clamp max", lambda a: a.clamp(max=0.2), (X,)),
    Case("clamp tensors", lambda a, b, c: a.clamp(-b, c), (X, P, Q)),
    Case("clamp min tensor", lambda a, b: a.clamp(min=b), (X, P)),
    Case("clamp integer", lambda a: a.clamp(-2, 3), (N,)),
    Case("clamp kinks", lambda a: a.clamp(-0.5, 1.5), (HALVES,)),
    Case("clamp integer by float", lambda a: a.clamp(-1.5, 2.5), (N,)),
    Case("xlogy", torch.xlogy, (X, P)),
    Case("xlogy zeros", torch.xlogy, (B.float(), P)),
    Case("xlogy scalar", lambda a: torch.xlogy(2, a), (P,)),
    Case("xlog1py", torch.special.xlog1py, (X, P)),
    Case("entr", torch.special.entr, (P,)),
    Case("logit eps", lambda a: torch.logit(a, eps=0.2), (Q / 2.1,)),
    Case("nan to num", lambda a: torch.nan_to_num(a, 0.5, 7.0, -3.0), (SPECIAL,)),
    Case("ndtr", torch.special.ndtr, (X,)),
    Case("where", lambda c, a, b: torch.where(c, a, b), (B, X, Y)),
    Case("where scalar", lambda c, a: torch.where(c, a, 0.0), (B, X)),
    Case("where scalars", lambda c: torch.where(c, 1.0, -1.0), (B,)),
    Case("where mixed", lambda c, a, b: torch.where(c, a, b), (B, X, M)),
    Case("where row", lambda c, a, b: torch.where(c, a, b), (B, X, ROW)),
    Case("masked_fill", lambda a, c: a.masked_fill(c, 2), (X, B)),
    Case("masked_fill row", lambda a, c: a.masked_fill(c, float("-inf")).exp(), (X, B[:1])),
    Case("masked_fill tensor", lambda a, c, v: a.masked_fill(c, v[0]), (X, B, ROW)),
    Case("masked_fill integer", lambda a, c: a.masked_fill(c, -100), (N, B)),
    Case("logic", lambda a, b: ((a & b) | ~a) ^ b, (B, X > 0)),
    Case("logical functions", lambda a, b: torch.logical_and(a, b) | torch.logical_xor(a, b), (N, X)),
    Case("logical not", lambda a: torch.logical_not(a), (X,)),
    Case("logical or", torch.logical_or, (N, B)),
    Case("bit and", lambda a: a & 3, (N,)),
    Case("bit or", lambda a, b: a | b, (N, M)),
    Case("bit xor", lambda a, b: a ^ b, (N, M)),
    Case("bit not", lambda a: ~a, (N,)),
    Case("shift", lambda a: (a << 2) + (a >> 1), (abs(N),)),
    Case("to float", lambda a: a.float() * 2, (N,)),
    Case("to long", lambda a: a.long(), (X,)),
    Case("to bool", lambda a: a.bool(), (N,)),
    Case("to int32", lambda a: a.int(), (X,)),
    Case("heaviside", torch.heaviside, (X, P), plain=True),
    Case("ldexp", torch.ldexp, (X, M)),
    Case("isclose", torch.isclose, (X, X + 1e-9)),
    Case("round decimals", lambda a: torch.round(a, decimals=2), (X,)),
    Case("in place", lambda a, b: (a * 1).add_(b).mul_(2).clamp_(min=0), (X, Y)),
    Case("mean of a comparison", lambda a, b: (a > b).float().mean(), (X, Y)),
    Case("equality count", lambda a, b: (a == b).sum(), (N, M)),
    Case("float times count", lambda a, c: a / c.sum(), (X, B)),
    Case("rad and deg", lambda a: torch.rad2deg(a), (X,)),
    Case("polar parts", lambda a, b: (a * torch.cos(b), a * torch.sin(b)), (X, Y)),
    Case("type as", lambda a, b: a.type_as(b) * b, (N, X)),
    Case("abs at zero", torch.abs, (HALVES,)),
    Case("maximum ties", torch.maximum, (HALVES, HALVES.flip(0).abs() - 0.5)),
    Case("sqrt of sum", lambda a: a.square().sum(1).sqrt(), (X,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_exported_operation_is_pytorchs(case: Case) -> None:
    compare(case)
