"""Ceilings of a machine, as onnxruntime reaches them: arithmetic by products in each number type, memory by copies.

A roofline (Williams, Waterman and Patterson, CACM 52(4), 2009) needs two numbers of a machine: what it computes and
what it moves a second. Datasheet numbers are what no kernel reaches; these are the best of what onnxruntime does with
the same threads and the same provider (:mod:`.measured`). Arithmetic has a ceiling for each number type: 8-bit
kernels do several times what float32 kernels do. Further numbers tell where the memory ceiling does not bind: what a
copy reaches whose data stay in a cache, by the bytes that it moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from fathom_onnx.errors import DataError, one_line

__all__ = ["SCHEMA", "Ceilings", "Sample", "best_of", "ceilings_of", "read_ceilings"]

SCHEMA = "fathom-onnx/ceilings/1"
"""Name and version of the JSON schema."""


@dataclass(frozen=True)
class Sample:
    """The best time of one op.

    Attributes:
        op: The op type.
        size: Side of a matrix product, channels of a convolution, or elements of a buffer of a copy.
        seconds: The shortest run or, of runs that were started together and of copies that were chained, the shortest
            mean.
        runs: How many were timed.
        work: FLOPs of a product, bytes of a copy.
        compute_type: The number type that a product computes in; empty for a copy.
        form: What else tells two samples apart: the types of the operands, or "in place".
    """

    op: str
    size: int
    seconds: float
    runs: int
    work: int
    compute_type: str = ""
    form: str = ""

    @property
    def giga(self) -> float:
        """GFLOP/s or GB/s (10^9)."""
        return self.work / self.seconds / 1e9


@dataclass(frozen=True)
class Ceilings:
    """The ceilings of a machine, and what they were measured with.

    Attributes:
        gflops: GFLOP/s of the best float32 product.
        gbytes: GB/s of the best copy from and to memory.
        products: All products, in all number types that were measured.
        copies: All copies from and to memory.
        facts: Provider, threads, CPU, its cores and the version of onnxruntime; on CUDA the device's name as ``gpu``
            and whether products may use TensorFloat-32 as ``tf32``, else None.
        in_cache: Copies of less and less data; none in older files.
        not_measured: Number type to the reason why its products were not measured.
    """

    gflops: float
    gbytes: float
    products: tuple[Sample, ...]
    copies: tuple[Sample, ...]
    facts: dict[str, Any]
    in_cache: tuple[Sample, ...] = ()
    not_measured: Mapping[str, str] = field(default_factory=dict)

    @property
    def ridge(self) -> float:
        """FLOPs a byte at which memory and float32 arithmetic bind."""
        return self.gflops / self.gbytes

    @cached_property
    def arithmetic(self) -> dict[str, float]:
        """Number type to GFLOP/s of its best product, float32 first."""
        best = {"float32": self.gflops}
        for sample in self.products:
            kind = sample.compute_type or "float32"
            best[kind] = max(sample.giga, best.get(kind, 0.0))
        return best

    def best_product(self, compute_type: str) -> Sample | None:
        """The fastest product in a number type."""
        of_type = (sample for sample in self.products if (sample.compute_type or "float32") == compute_type)
        return max(of_type, key=lambda sample: sample.giga, default=None)

    def cached_gbytes(self, moved: float) -> float | None:
        """GB/s of the best copy that moves about as many bytes or more; None where none was measured.

        Copies are measured at every doubling, and what lies between two of them may be as fast as the smaller one.
        """
        return max((s.giga for s in (*self.in_cache, *self.copies) if s.work > moved / 2), default=None)

    def as_json(self) -> dict[str, Any]:
        """One object of schema :data:`SCHEMA`."""
        return {
            "schema": SCHEMA,
            **self.facts,
            "gflops": self.gflops,
            "gflops_by_type": self.arithmetic,
            "gbytes_per_second": self.gbytes,
            "ridge_flops_per_byte": self.ridge,
            "products": [{**asdict(s), "gflops": s.giga} for s in self.products],
            "copies": [{**asdict(s), "gbytes_per_second": s.giga} for s in self.copies],
            "in_cache": [{**asdict(s), "gbytes_per_second": s.giga} for s in self.in_cache],
            "not_measured": dict(self.not_measured),
        }


def best_of(first: Ceilings, second: Ceilings) -> Ceilings:
    """The better of two measurements with the same settings: what else runs on a machine only makes it slower."""
    return Ceilings(
        max(first.gflops, second.gflops),
        max(first.gbytes, second.gbytes),
        first.products + second.products,
        first.copies + second.copies,
        first.facts,
        first.in_cache + second.in_cache,
        {kind: why for kind, why in first.not_measured.items() if kind in second.not_measured},
    )


def ceilings_of(stored: Any, where: str) -> Ceilings:
    """Ceilings from the object that :meth:`Ceilings.as_json` gave; further keys do no harm.

    Args:
        stored: The object.
        where: Where it was stored, for errors.

    Raises:
        DataError: It is not of that form.
    """
    try:
        if stored["schema"] != SCHEMA:
            raise DataError(f"{where} has schema '{stored['schema']}', not '{SCHEMA}'", "measure again")
        known = [f.name for f in fields(Sample)]
        samples = [
            tuple(Sample(**{name: row[name] for name in known if name in row}) for row in stored.get(kind, []))
            for kind in ("products", "copies", "in_cache")
        ]
        facts = {name: stored[name] for name in ("provider", "threads", "cpu", "cpu_cores", "onnxruntime")}
        facts |= {name: stored.get(name) for name in ("gpu", "tf32")}  # older files have none: they are of CPUs
        gflops, gbytes = float(stored["gflops"]), float(stored["gbytes_per_second"])
        if not (np.isfinite(gflops) and np.isfinite(gbytes) and gflops > 0 and gbytes > 0):
            raise ValueError("a ceiling is not above zero")
        not_measured = {str(kind): str(why) for kind, why in stored.get("not_measured", {}).items()}
        return Ceilings(gflops, gbytes, samples[0], samples[1], facts, samples[2], not_measured)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_ceilings(where, error) from error


def _no_ceilings(where: str, error: Exception) -> DataError:
    return DataError(
        f"{where} does not hold ceilings ({one_line(error)})", "write them with 'fathom-onnx ceilings --json'"
    )


def read_ceilings(path: Path) -> Ceilings:
    """Ceilings from a file that ``fathom-onnx ceilings --json`` wrote.

    Raises:
        DataError: No such file, or not of that form.
    """
    try:
        stored = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read '{path}' ({error.strerror})", "give a file of 'ceilings --json'") from error
    except ValueError as error:
        raise _no_ceilings(f"'{path}'", error) from error
    return ceilings_of(stored, f"'{path}'")
