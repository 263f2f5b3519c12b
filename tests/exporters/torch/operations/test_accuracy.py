"""Digits of small and large results: float32 in onnxruntime against PyTorch in float64, element by element."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from support.operations import Case, compare_digits, tensors

SIZES = torch.logspace(-30, 30, 121)
NEAR = torch.logspace(-8, 1.9, 120)
POSITIVE = torch.cat([SIZES, NEAR])
BOTH = torch.cat([-POSITIVE, POSITIVE])
UNIT = POSITIVE[POSITIVE < 0.99]
ENDS = torch.tensor([0.0, -0.0, 1.0, -1.0, 89.1, -89.1, float("inf"), -float("inf"), float("nan")])
FIRST, SECOND = (part.reshape(-1) for part in torch.meshgrid(ENDS, ENDS, indexing="ij"))
TENTHS = torch.arange(-40, 41) / 10
NUMERATOR, DIVISOR = (part.reshape(-1) for part in torch.meshgrid(TENTHS, TENTHS[TENTHS != 0], indexing="ij"))
WIDE_X, WIDE_Y = (part.reshape(-1) for part in torch.meshgrid(BOTH[::10], BOTH[::10], indexing="ij"))
MIDDLE = BOTH[(BOTH.abs() > 1e-9) & (BOTH.abs() < 1e9)][::7]
MIDDLE_X, MIDDLE_Y = (part.reshape(-1) for part in torch.meshgrid(MIDDLE, MIDDLE, indexing="ij"))

CASES = [
    Case("log1p", torch.log1p, (torch.cat([BOTH[BOTH > -0.99], torch.tensor([-1.0])]),)),
    Case("expm1", torch.expm1, (BOTH[BOTH > -1],)),
    Case("expm1 of negative", torch.expm1, (-POSITIVE,), plain=True),
    Case("exp2", torch.exp2, (BOTH,)),
    Case("sinh", torch.sinh, (BOTH,)),
    Case("cosh", torch.cosh, (BOTH,)),
    Case("asinh", torch.asinh, (BOTH,)),
    Case("atanh", torch.atanh, (torch.cat([-UNIT, UNIT]),)),
    Case("tan", torch.tan, (torch.cat([-UNIT, UNIT]),)),
    Case("erf", torch.erf, (BOTH,)),
    Case("erfc", torch.erfc, (BOTH,)),
    Case("erfcx", torch.special.erfcx, (BOTH,), plain=True),
    Case("xlog1py", lambda x: torch.special.xlog1py(torch.ones_like(x), x), (POSITIVE,)),
    Case("softplus", F.softplus, (POSITIVE,)),
    Case("softplus of negative", F.softplus, (-POSITIVE,), plain=True),
    Case("log sigmoid", F.logsigmoid, (BOTH,), plain=True),
    Case("gelu", F.gelu, (BOTH,), plain=True),
    Case("logaddexp", lambda x: torch.logaddexp(x, torch.zeros_like(x)), (BOTH,)),
    Case("logaddexp2", lambda x: torch.logaddexp2(x, torch.zeros_like(x)), (BOTH,)),
    Case("running logsumexp", lambda x: torch.logcumsumexp(torch.stack([torch.zeros_like(x), x], 1), 1), (BOTH,)),
    Case("binary cross-entropy", lambda x: F.binary_cross_entropy(x, torch.zeros_like(x), reduction="none"), (UNIT,)),
    Case("soft margin", lambda x: F.soft_margin_loss(x, torch.ones_like(x), reduction="none"), (NEAR[NEAR < 3],)),
    Case("hypot", torch.hypot, (WIDE_X, WIDE_Y)),
    Case("atan2", torch.atan2, (WIDE_X, WIDE_Y), plain=True),
    Case("remainder", torch.remainder, (MIDDLE_X, MIDDLE_Y), plain=True),
    Case("remainder of tenths", torch.remainder, (NUMERATOR, DIVISOR)),
    Case("quotient of tenths", lambda x, y: torch.div(x, y, rounding_mode="floor"), (NUMERATOR, DIVISOR)),
    Case("quotient by a tenth", lambda x: torch.div(x, 0.1, rounding_mode="floor"), (TENTHS,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_digits_are_lost(case: Case) -> None:
    compare_digits(case)


EDGES = [
    *[
        Case(f.__name__, f, (ENDS,), plain=True)
        for f in (torch.log1p, torch.expm1, torch.exp2, torch.sinh, torch.cosh, torch.erfc, torch.special.erfcx)
    ],
    Case("erfinv", torch.erfinv, (ENDS,), plain=True),
    Case("atan2", torch.atan2, (FIRST, SECOND), plain=True),
    Case("sign of copysign", lambda x, y: torch.copysign(x, y) < 0, (FIRST, SECOND), plain=True),
    Case("signbit", torch.signbit, (ENDS[:-1],), plain=True),
    Case("running logsumexp of nothing", lambda x: x.logcumsumexp(0), (ENDS[[7, 7, 2, 7, 3]],), plain=True),
]


@pytest.mark.parametrize("case", EDGES, ids=str)
def test_zeros_infinities_and_what_is_no_number(case: Case) -> None:
    compare_digits(case)


def test_the_comparison_sees_a_lost_digit() -> None:
    (x,) = tensors((5,), low=1e-4, high=2e-4)
    with pytest.raises(AssertionError, match="of its last place"):
        compare_digits(Case("log(1 + x)", lambda x: torch.log(1 + x), (x,)), truth=Case("log1p", torch.log1p, (x,)))
    np.testing.assert_allclose(torch.log(1 + x).numpy(), torch.log1p(x).numpy(), rtol=1e-3)  # seen by none
