"""Functions of single elements, of rows, and products: where the evaluator's are in float32, unstable or slow."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from fathom_onnx.workloads.contract import Array

from .define import operator

__all__ = ["OPERATORS"]


def _erf(x: Array, **_: Any) -> Array:
    y: Array = special.erf(x)
    return y


def _gelu(x: Array, *, approximate: str | None = "none", **_: Any) -> Array:
    if approximate == "tanh":
        inner = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    else:
        inner = special.erf(x / np.sqrt(2))
    y: Array = x / 2 * (1 + inner)
    return y


def _sigmoid(x: Array, **_: Any) -> Array:
    y: Array = special.expit(x)
    return y


def _log_softmax(x: Array, *, axis: int | None = -1, **_: Any) -> Array:
    y: Array = special.log_softmax(x, axis=-1 if axis is None else axis)
    return y


def _softmax(x: Array, *, axis: int | None = -1, **_: Any) -> Array:
    y: Array = special.softmax(x, axis=-1 if axis is None else axis)
    return y


def _mish(x: Array, **_: Any) -> Array:
    y: Array = x * np.tanh(np.logaddexp(0, x))
    return y


def _celu(x: Array, *, alpha: float | None = 1.0, **_: Any) -> Array:
    size = 1.0 if alpha is None else alpha
    y: Array = np.maximum(x, 0) + np.minimum(0, size * np.expm1(x / size))
    return y


def _elu(x: Array, *, alpha: float | None = 1.0, **_: Any) -> Array:
    return np.where(x > 0, x, (1.0 if alpha is None else alpha) * np.expm1(np.minimum(x, 0)))


def _einsum(*operands: Array, equation: str, **_: Any) -> Array:
    made: Array = np.einsum(equation.replace(" ", ""), *operands, optimize=True)
    return made


def _gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float | None = 1.0,
    beta: float | None = 1.0,
    transA: int | None = 0,  # noqa: N803  # as ONNX names it
    transB: int | None = 0,  # noqa: N803
    **_: Any,
) -> Array:
    made: Array = (a.T if transA else a) @ (b.T if transB else b)
    if alpha is not None and alpha != 1:
        made = made * alpha
    if c is not None and beta:
        made = made + c * beta
    return made


OPERATORS = (
    operator("Erf", _erf),
    operator("Gelu", _gelu),
    operator("Sigmoid", _sigmoid),
    operator("LogSoftmax", _log_softmax),
    operator("Softmax", _softmax),
    operator("Mish", _mish),
    operator("Celu", _celu),
    operator("Elu", _elu),
    operator("Einsum", _einsum),
    operator("Gemm", _gemm),
)
"""The evaluator's Erf rounds to float32, its LogSoftmax takes the logarithm of a softmax that is zero."""
