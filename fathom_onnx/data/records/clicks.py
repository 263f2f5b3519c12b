"""Click logs like Criteo's, generated: counts and categories of impressions, and whether each was clicked.

A categorical column's values are drawn with frequencies like ``1 / (value + 1)``, so that a few are frequent and most
are rare, as in real logs. Every value of a column has a hidden sign. The logit of a click is planted in three parts: a
sum of the signs; a sum of their products over pairs of neighbouring columns, which no column tells by itself (a product
of embeddings does); and a sum of the counts' logarithms with hidden weights. A bag of several values counts by their
signs' sum. Each sum is divided by the root of its length, so that clicks are as predictable whatever the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, RequestedTensor, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["CATEGORIES", "ClickRequest", "click_request", "logits", "open_clicks", "sign_of", "values_of"]

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


@dataclass(frozen=True)
class ClickRequest:
    """What a request for click logs asks for.

    Attributes:
        request: The request.
        source: Name of the source, for errors.
        batch: Impressions of a batch.
        counts: Counts of an impression.
        columns: The categorical columns in their order, [batch, lookups], each with its number of values.
    """

    request: BatchRequest
    source: str
    batch: int
    counts: int
    columns: tuple[tuple[RequestedTensor, int], ...]

    def filled(self, dense: Array, columns: Sequence[Array], clicks: Array) -> Batch:
        """A batch.

        Args:
            dense: Logarithms of counts [batch, counts].
            columns: Values [batch, lookups] of each column.
            clicks: Whether each impression was clicked [batch].
        """
        made = {"dense": dense, "clicks": clicks[:, np.newaxis]}
        made |= {spec.name: values for (spec, _), values in zip(self.columns, columns, strict=True)}
        return {spec.name: made[spec.name].astype(spec.dtype) for spec in self.request.specs}


def _columns(request: BatchRequest, source: str, names: Sequence[str]) -> Iterator[tuple[RequestedTensor, int]]:
    """The categorical columns that are requested, in their order, each with its number of values.

    Raises:
        DataError: A column has no known number of values, or no shape [batch, lookups].
    """
    for name in sorted(names, key=lambda name: int(name.removeprefix(CATEGORIES))):
        spec, draw = request.spec(name), request.draws.get(name)
        assert spec is not None
        if draw is None or draw.kind != "integers" or len(spec.shape) != 2:
            raise DataError(
                f"data source '{source}' cannot fill '{name}' of shape {list(spec.shape)}",
                "ask for [batch, lookups], with the number of rows of its table",
            )
        yield spec, int(draw.high)


def click_request(request: BatchRequest, source: str) -> ClickRequest:
    """What a request asks for: ``dense`` [batch, counts], ``categories.N`` [batch, lookups], ``clicks`` [batch, 1].

    Raises:
        DataError: Another input is requested, or shapes that do not fit together.
    """
    names = [spec.name for spec in request.specs]
    columns = [name for name in names if name.removeprefix(CATEGORIES).isdigit() and name.startswith(CATEGORIES)]
    check_inputs(request, source, ("dense", *columns, "clicks"))
    dense = request.spec("dense")
    if dense is None or len(dense.shape) != 2:
        raise DataError(f"data source '{source}' was not asked for counts", "ask for 'dense' of shape [batch, counts]")
    clicks = request.spec("clicks")
    if clicks is not None and clicks.shape != (dense.shape[0], 1):
        raise DataError(
            f"data source '{source}' cannot fill clicks of shape {list(clicks.shape)}", f"ask for {[dense.shape[0], 1]}"
        )
    return ClickRequest(request, source, *dense.shape, tuple(_columns(request, source, columns)))


def open_clicks(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches, as :func:`click_request` says.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    asked = click_request(request, "clicks")
    rng = generator(request.seed, "clicks")
    while True:
        dense = np.log1p(np.floor(np.exp(rng.normal(1.0, 1.5, (asked.batch, asked.counts)))))
        drawn = [values_of(rows, rng.random(spec.shape)) for spec, rows in asked.columns]
        clicked = rng.random(asked.batch) < 1 / (1 + np.exp(-logits(dense, drawn)))
        yield asked.filled(dense, drawn, clicked)
