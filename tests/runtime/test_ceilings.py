"""Ceilings: in form on this machine, and their files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.runtime.ceilings import Ceilings, Sample, best_of, read_ceilings
from fathom_onnx.runtime.ceilings.measured import BURST, SIZES, measure_ceilings
from fathom_onnx.runtime.environment import cpu_model
from fathom_onnx.runtime.settings import SessionSettings

SMALL: dict[str, Any] = {"sizes": (64, 128), "channels": 8, "copy_bytes": 2**20, "cache_bytes": (2**16, 2**18)}


@pytest.fixture(scope="module")
def measured() -> Ceilings:
    return measure_ceilings(SessionSettings("cpu", 1), budget_s=0.02, **SMALL)


def test_ceilings_are_the_best_of_what_was_measured(measured: Ceilings) -> None:
    matrices = [s for s in measured.products if s.op in ("MatMul", "MatMulInteger")]
    assert [(s.size, s.form) for s in matrices] == [
        (64, "float32 x float32"),
        (128, "float32 x float32"),
        (64, "uint8 x int8"),
        (64, "int8 x int8"),
        (128, next(s for s in matrices[2:4] if s.giga == max(t.giga for t in matrices[2:4])).form),
    ]
    assert all(s.work == 2 * s.size**3 for s in matrices)
    # 4 images of 28 x 28, 8 channels to 8 by 3 x 3
    convolutions = [s for s in measured.products if s not in matrices]
    assert [(s.op, s.compute_type) for s in convolutions] == [("Conv", "float32"), ("QLinearConv", "int8")]
    assert {s.work for s in convolutions} == {2 * 4 * 28 * 28 * 8 * 8 * 9}
    by_type = {
        t: max(s.work / s.seconds / 1e9 for s in measured.products if s.compute_type == t) for t in ("float32", "int8")
    }
    assert measured.arithmetic == by_type
    assert measured.gflops == by_type["float32"]
    # one buffer of 2**20 bytes read and one written; two read and one written; the first again, where it was read
    assert [(s.op, s.form, s.work) for s in measured.copies] == [
        ("Relu", "", 2 * 2**20),
        ("Add", "", 3 * 2**20),
        ("Relu", "in place", 2 * 2**20),
    ]
    assert [s.work for s in measured.in_cache] == [2**16, 2**18]
    assert measured.gbytes == max(s.work / s.seconds / 1e9 for s in measured.copies)
    assert all(s.runs >= 3 for s in (*measured.products, *measured.copies, *measured.in_cache))
    assert measured.facts["cpu"] == cpu_model()


def test_a_number_type_that_the_provider_casts_is_not_measured(measured: Ceilings) -> None:
    # onnxruntime's CPU kernels for float16 are few: it runs the product in float32, with a cast before and after
    assert measured.not_measured == {"float16": "the provider computes it in another number type, with casts around it"}
    other = measure_ceilings(SessionSettings("cpu", 1), types=("int4", "float64"), budget_s=0.0, **SMALL)
    assert set(other.arithmetic) == {"float32", "float64"}
    assert other.not_measured == {"int4": "there is no form of a product to measure it with"}


def test_the_rate_in_a_cache_is_that_of_as_many_bytes_or_more() -> None:
    def copy(work: int, giga: int) -> Sample:
        return Sample("Relu", 1, work / giga / 1e9, 3, work)

    known = Ceilings(1.0, 5.0, (), (copy(10**9, 5),), {}, (copy(10**5, 60), copy(10**6, 80), copy(10**7, 20)))
    rates = [known.cached_gbytes(moved) for moved in (1e4, 1e6, 1.9e6, 2e6, 1e8)]
    assert rates == [pytest.approx(rate) for rate in (80, 80, 80, 20, 5)]
    assert known.cached_gbytes(2e9) is None


def test_the_better_of_two_measurements(measured: Ceilings) -> None:
    better = best_of(measured, replace(measured, gflops=1e6, gbytes=1.0))
    assert (better.gflops, better.gbytes) == (1e6, measured.gbytes)
    assert better.arithmetic["int8"] == measured.arithmetic["int8"]


def test_older_files_know_float32_alone(measured: Ceilings, tmp_path: Path) -> None:
    older = measured.as_json()
    for key in ("in_cache", "not_measured", "gflops_by_type"):
        del older[key]
    rows = ("op", "size", "seconds", "runs", "work")
    older["products"] = [{n: row[n] for n in rows} for row in older["products"] if row["compute_type"] == "float32"]
    older["copies"] = [{n: row[n] for n in rows} for row in older["copies"]]
    path = tmp_path / "older.json"
    path.write_text(json.dumps(older))
    read = read_ceilings(path)
    assert read.arithmetic == {"float32": measured.gflops}
    assert (read.in_cache, read.not_measured) == ((), {})


def test_ceilings_are_read_back(measured: Ceilings, tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    path.write_text(json.dumps(measured.as_json()))
    assert read_ceilings(path) == measured


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("no json", "does not hold ceilings"),
        ("[]", "does not hold ceilings"),
        ('{"schema": "other/1"}', "has schema 'other/1'"),
        ('{"schema": "fathom-onnx/ceilings/1"}', "does not hold ceilings"),
    ],
)
def test_bad_ceilings(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "ceilings.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_ceilings(path)


def test_ceilings_of_nothing(tmp_path: Path, measured: Ceilings) -> None:
    with pytest.raises(UsageError):
        measure_ceilings(SessionSettings(), sizes=())
    path = tmp_path / "zero.json"
    path.write_text(json.dumps({**measured.as_json(), "gflops": 0}))
    with pytest.raises(DataError, match="not above zero"):
        read_ceilings(path)


def test_gpus_are_measured_with_larger_work_and_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert min(SIZES["cuda"]) > max(512, *SIZES["cpu"][:-1])
    monkeypatch.setitem(BURST, "cpu", 4)
    result = measure_ceilings(SessionSettings("cpu", 1), types=(), budget_s=0.0, **SMALL)
    assert {s.runs for s in (*result.products, *result.copies, *result.in_cache)} == {12}
    assert (result.facts["gpu"], result.facts["tf32"]) == (None, None)
