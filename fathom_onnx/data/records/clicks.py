"""Click logs like Criteo's, generated: counts and categories of impressions, and whether each was clicked.

A categorical column's values are drawn with frequencies like ``1 / (value + 1)``, so that a few are frequent and most
are rare, as in real logs. Every value of a column has a hidden sign. The logit of a click is planted in three parts: a
sum of the signs; a sum of their products over pairs of neighbouring columns, which no column tells by itself (a product
of embeddings does); and a sum of the counts' logarithms with hidden weights. A bag of several values counts by their
signs' sum. Each sum is divided by the root of its length, so that clicks are as predictable whatever the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, RequestedTensor, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["CATEGORIES", "logits", "open_clicks", "sign_of", "values_of"]

CATEGORIES = "categories."
"""Beginning of the names of the inputs that are categorical columns; the column's number is the rest."""

SINGLE, PAIR, DENSE = 3.0, 1.0, 1.0
"""Weights of the three parts of a logit."""


def values_of(rows: int, uniform: Array) -> Array:
    """Values 0 to ``rows - 1`` from uniform draws: v has the probability ``log((v + 2) / (v + 1)) / log(rows + 1)``."""
    drawn: Array = np.exp(uniform * np.log(rows + 1.0)).astype(np.int64) - 1
    return np.clip(drawn, 0, rows - 1)


def sign_of(column: int, values: Array) -> Array:
    """The hidden sign of each value of a column: -1 or 1, by a hash (of Knuth's multiplier), with no table of signs."""
    mixed = (values.astype(np.uint64) * np.uint64(31) + np.uint64(column + 1)) * np.uint64(2654435761)
    return np.where((mixed >> np.uint64(16)) & np.uint64(1), 1.0, -1.0)


def logits(dense: Array, columns: Sequence[Array]) -> Array:
    """The logits of clicks [N].

    Args:
        dense: Logarithms of counts [N, counts].
        columns: Values [N, lookups] of each categorical column.
    """
    signs = np.array([sign_of(number, column).sum(1) for number, column in enumerate(columns)])
    products = signs[: len(signs) // 2 * 2 : 2] * signs[1::2]
    weights = np.where(np.arange(dense.shape[1]) % 2, -1.0, 1.0) / np.sqrt(dense.shape[1])
    single = SINGLE * signs.sum(0) / np.sqrt(len(signs))
    pair = PAIR * products.sum(0) / np.sqrt(max(len(products), 1))
    return np.asarray(single + pair + DENSE * (dense - dense.mean(1, keepdims=True)) @ weights)


def _columns(request: BatchRequest) -> list[tuple[RequestedTensor, int]]:
    """The categorical columns that are requested, in their order, each with its number of values.

    Raises:
        DataError: A column has no known number of values, or no shape [batch, lookups].
    """
    found = []
    specs = [spec for spec in request.specs if spec.name.startswith(CATEGORIES)]
    for spec in sorted(specs, key=lambda spec: int(spec.name.removeprefix(CATEGORIES))):
        draw = request.draws.get(spec.name)
        if draw is None or draw.kind != "integers" or len(spec.shape) != 2:
            raise DataError(
                f"data source 'clicks' cannot fill '{spec.name}' of shape {list(spec.shape)}",
                "ask for [batch, lookups], with the number of rows of its table",
            )
        found.append((spec, int(draw.high)))
    return found


def _check(request: BatchRequest) -> tuple[int, int]:
    """Batch size and number of counts of a request.

    Raises:
        DataError: Its inputs do not fit together.
    """
    names = [spec.name for spec in request.specs]
    columns = [name for name in names if name.removeprefix(CATEGORIES).isdigit() and name.startswith(CATEGORIES)]
    check_inputs(request, "clicks", ("dense", *columns, "clicks"))
    dense = request.spec("dense")
    if dense is None or len(dense.shape) != 2:
        raise DataError("data source 'clicks' was not asked for counts", "ask for 'dense' of shape [batch, counts]")
    clicks = request.spec("clicks")
    if clicks is not None and clicks.shape != (dense.shape[0], 1):
        raise DataError(
            f"data source 'clicks' cannot fill clicks of shape {list(clicks.shape)}",
            f"ask for {[dense.shape[0], 1]}",
        )
    return dense.shape[0], dense.shape[1]


def open_clicks(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``dense`` [batch, counts], ``categories.N`` [batch, lookups] and ``clicks`` [batch, 1].

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    batch, counts = _check(request)
    columns = _columns(request)
    rng = generator(request.seed, "clicks")
    while True:
        dense = np.log1p(np.floor(np.exp(rng.normal(1.0, 1.5, (batch, counts)))))
        drawn = [values_of(rows, rng.random((batch, spec.shape[1]))) for spec, rows in columns]
        clicked = rng.random(batch) < 1 / (1 + np.exp(-logits(dense, drawn)))
        made = {"dense": dense, "clicks": clicked[:, np.newaxis]}
        made |= {spec.name: values for (spec, _), values in zip(columns, drawn, strict=True)}
        yield {spec.name: made[spec.name].astype(spec.dtype) for spec in request.specs}
