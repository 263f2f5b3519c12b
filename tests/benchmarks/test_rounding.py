"""The bound on products that are rounded in other places: it holds, and what can happen is not far below it."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from support.graphs.small_models import FLOAT, model, op
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from differential.judging import apart, in_onnxruntime
from differential.rounding import allowed, bound

HALF = onnx.TensorProto.FLOAT16


def summed(a: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.float32:
    """A product of two vectors in floats of 32 bits, term by term in an order."""
    total = np.float32(0)
    for x, y in zip(a[order], b[order], strict=True):
        total = np.float32(total + np.float32(x * y))
    return total


def exact(a: np.ndarray, b: np.ndarray) -> Fraction:
    """The same without any rounding."""
    return sum((Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True)), Fraction(0))


def test_the_bound_in_exact_numbers() -> None:
    """By hand, with rationals: one term, and a thousand."""
    h, u = Fraction(1, 2**11), Fraction(1, 2**24)
    for terms in (1, 1000):
        g = terms * u / (1 - terms * u)
        q = 1 / (1 - h) ** 2
        whole = (q - 1) + (q + 1) * g + (q + 1) * h * (1 + g)
        assert bound(terms, halves=True) == pytest.approx(float(whole), rel=1e-9)
        assert 1 < whole / (Fraction(1, 2**9) + terms * Fraction(1, 2**23)) < 1 + Fraction(1, 500)
        assert bound(terms, halves=False) == pytest.approx(float(2 * g), rel=1e-9)


@pytest.mark.parametrize("terms", [1, 2, 7, 64, 500])
def test_no_product_is_farther_apart(terms: int) -> None:
    """Operands as they were before they were stored, or as they are stored; sums in two orders."""
    rng = np.random.default_rng(terms)
    for scale in (1.0, 2.0**-12, 2.0**-20):
        for signs in (1.0, rng.choice([-1.0, 1.0], terms)):
            before = [(rng.uniform(1, 2, terms) * signs).astype(np.float32), rng.normal(size=terms).astype(np.float32)]
            before = [np.float32(scale) * before[0], before[1]]
            stored = [x.astype(np.float16).astype(np.float32) for x in before]
            one = np.float16(summed(*before, rng.permutation(terms)))
            other = np.float16(summed(*stored, rng.permutation(terms)))
            least = 2.0**-14
            s = float(np.sum((np.abs(stored[0]) + least) * (np.abs(stored[1]) + least))) + least
            assert abs(float(one) - float(other)) <= bound(terms, halves=True) * s
            error = abs(Fraction(float(summed(*stored, rng.permutation(terms)))) - exact(*stored))
            amount = exact(np.abs(stored[0]), np.abs(stored[1]))
            assert error <= Fraction(bound(terms, halves=False)) / 2 * amount


def test_the_bound_is_nearly_met() -> None:
    """All operands just below the middle between two floats of 16 bits: nearly half of the bound."""
    x = np.float32(1 + 2.0**-11 - 2.0**-23)
    before, stored = [np.full(9, x, np.float32)] * 2, [np.ones(9, np.float32)] * 2
    order = np.arange(9)
    one, other = np.float16(summed(*before, order)), np.float16(summed(*stored, order))
    assert (one, other) == (np.float16(9.0078125), np.float16(9))
    assert 0.4 < (float(one) - float(other)) / (9 * bound(9, halves=True)) < 1


def chain() -> onnx.ModelProto:
    """Two products in a row, of floats of 16 bits, with factors."""
    made = model(
        [op("Gemm", "x w c", "h", alpha=-0.5), op("MatMul", "h v", "y")],
        {"x": (HALF, (3, 40)), "c": (HALF, ())},
        {"y": (HALF, (3, 2))},
        infer=False,
    )
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(40, 5)), "v": rng.normal(size=(5, 2))}
    made.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float16), n) for n, a in weights.items())
    return made


def run(made: onnx.ModelProto, fed: Any) -> list[Any]:
    return in_onnxruntime(made, fed, "none")


def test_what_is_allowed_of_a_model() -> None:
    """Against numpy in doubles: S and K of both products, d = 2; and it holds of what onnxruntime gives."""
    made = chain()
    rng = np.random.default_rng(1)
    fed = {"x": rng.normal(size=(3, 40)).astype(np.float16), "c": np.array(0.7, np.float16)}
    w, v = (np.abs(numpy_helper.to_array(t).astype(float)) for t in made.graph.initializer)
    s = (0.5 * (np.abs(fed["x"]).astype(float) + 1) @ (w + 1) + np.abs(fed["c"]).astype(float) + 1) @ (v + 1)
    larger = (1 + bound(np.full((3, 2), 41 * 5 + 3), halves=True)) ** 2
    (most,) = allowed(made, fed, run)
    assert most is not None
    np.testing.assert_allclose(most, (larger - 1) * larger * (s + 1), rtol=1e-5)
    (y,) = run(made, fed)
    w, v = (numpy_helper.to_array(t).astype(float) for t in made.graph.initializer)
    true = (-0.5 * fed["x"].astype(float) @ w + fed["c"]) @ v
    assert apart(y.astype("float64"), true, most) <= 1


def test_a_wrong_product_is_farther_apart() -> None:
    """Sums in 16 bits, and a result that is one in a hundred off, are beyond what is allowed."""
    made = model([op("MatMul", "x w", "y")], {"x": (HALF, (1, 4096)), "w": (HALF, (4096, 1))}, {"y": (HALF, (1, 1))})
    rng = np.random.default_rng(2)
    x, w = (rng.uniform(0.2, 0.4, shape).astype(np.float16) for shape in ((1, 4096), (4096, 1)))
    (most,) = allowed(made, {"x": x, "w": w}, run)
    (y,) = run(made, {"x": x, "w": w})
    assert apart(y, y.astype(np.float32).astype(np.float16), most) == 0
    halves = np.float16(0)
    for a, b in zip(x.flat, w.flat, strict=True):
        halves = np.float16(halves + a * b)
    assert apart(np.full_like(y, halves), y, most) > 1
    assert apart((y * np.float16(1.01)).astype(np.float16), y, most) > 1


def test_whole_numbers_have_to_be_equal() -> None:
    made = model([op("MatMul", "x w", "y")], {"x": (6, (1, 2)), "w": (6, (2, 1))}, {"y": (6, (1, 1))})
    fed = {"x": np.ones((1, 2), np.int32), "w": np.ones((2, 1), np.int32)}
    assert allowed(made, fed, run) == [None]
    assert FLOAT not in {v.type.tensor_type.elem_type for v in made.graph.output}
