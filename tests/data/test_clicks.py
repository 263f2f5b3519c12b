"""Generated click logs: frequencies of categories, planted logits by hand, and what the source hands on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fathom_onnx.data import batches, batches_for
from fathom_onnx.data.records.clicks import logits, sign_of, values_of
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Draw, TensorSpec


@pytest.mark.parametrize("rows", [1, 3, 40, 10_131_227])
def test_values_have_power_law_frequencies(rows: int) -> None:
    grid = (np.arange(100_000) + 0.5) / 100_000
    values = values_of(rows, grid)
    assert (values.min(), values.dtype) == (0, np.int64)
    assert values.max() < rows
    for value in range(min(rows, 4)):
        expected = math.log((value + 2) / (value + 1)) / math.log(rows + 1)
        assert (values == value).mean() == pytest.approx(expected, abs=2e-5)


def test_signs_belong_to_column_and_value() -> None:
    values = np.arange(10_000)
    first, second = sign_of(0, values), sign_of(1, values)
    assert set(first) == {-1.0, 1.0}
    assert abs(first.mean()) < 0.05
    assert abs((first * second).mean()) < 0.05
    assert sign_of(0, np.array([7])) == first[7]


def test_a_logit_by_hand() -> None:
    # values of three columns with two lookups each; the third has no partner
    columns = [np.array([[0, 1]]), np.array([[2, 2]]), np.array([[3, 4]])]
    a, b, c = (float(sign_of(n, column).sum()) for n, column in enumerate(columns))
    dense = np.array([[1.0, 4.0]])
    expected = 3 * (a + b + c) / math.sqrt(3) + a * b + ((1 - 2.5) - (4 - 2.5)) / math.sqrt(2)
    assert logits(dense, columns) == pytest.approx([expected])


def test_clicks_follow_their_logits() -> None:
    spec = workload("dlrm", "small", {"batch": "4000"})
    batch = next(batches_for(spec, "training", 3))
    columns = [batch[f"categories.{n}"] for n in range(8)]
    chance = 1 / (1 + np.exp(-logits(batch["dense"].astype(float), columns)))
    clicks = batch["clicks"][:, 0]
    assert clicks.dtype == np.float32
    # the deviation of a mean of 4000 clicks is below 0.008
    assert clicks.mean() == pytest.approx(chance.mean(), abs=0.03)
    assert clicks[chance > 0.9].mean() > 0.9
    assert clicks[chance < 0.1].mean() < 0.1
    assert (batch["dense"] >= 0).all()


def test_every_table_is_read_within_its_rows() -> None:
    spec = workload("dlrm")
    batch = next(batches_for(spec, "training", 0))
    for number, rows in enumerate(spec.config.rows):
        values = batch[f"categories.{number}"]
        assert values.shape == (128, 1)
        assert 0 <= values.min() <= values.max() < rows
    assert batch["categories.2"].max() > 100_000


@pytest.mark.parametrize(
    ("specs", "advice"),
    [
        ([TensorSpec("dense", (4,))], r"ask for 'dense' of shape \[batch, counts\]"),
        ([TensorSpec("dense", (4, 2)), TensorSpec("clicks", (4,))], r"ask for \[4, 1\]"),
        ([TensorSpec("dense", (4, 2)), TensorSpec("categories.0", (4, 1), "int64")], "number of rows"),
        ([TensorSpec("dense", (4, 2)), TensorSpec("images", (4, 1))], "has no input 'images'"),
        ([TensorSpec("dense", (4, 2)), TensorSpec("categories.x", (4, 1))], "has no input 'categories.x'"),
    ],
)
def test_what_cannot_be_filled_is_refused(specs: list[TensorSpec], advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        batches("clicks", specs, 0)


def test_a_column_needs_a_row_of_lookups() -> None:
    specs = [TensorSpec("dense", (4, 2)), TensorSpec("categories.0", (4,), "int64")]
    with pytest.raises(DataError, match=r"\[batch, lookups\]"):
        batches("clicks", specs, 0, {"categories.0": Draw("integers", 0, 5)})
