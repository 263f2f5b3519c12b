"""Ceilings of a machine, as onnxruntime reaches them: arithmetic by a matrix product, memory by a copy.

A roofline (Williams, Waterman and Patterson, CACM 52(4), 2009) needs two numbers of a machine. Datasheet numbers are
what no kernel reaches; here they are the best of what onnxruntime does with the same threads and the same provider:
square float32 products of several sizes, and elementwise ops on buffers far larger than the caches. Outputs are bound
to buffers that exist, so that no time goes into fresh memory. FLOPs are 2 n^3; bytes are each input and each output
once, as everywhere in this package: what a cache fetches in order to write a line is not counted.

On a GPU a run takes less than it takes the host to start it, unless the work is large. So products are larger there,
and runs are started one after the other without waiting; the clock stops when the device has done them all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
from onnx import helper

from fathom_onnx.errors import DataError, UsageError, one_line
from fathom_onnx.runtime.providers.gpu import gpu_facts
from fathom_onnx.runtime.providers.names import PROVIDERS, onnxruntime

from .environment import cpu_cores, cpu_model
from .prepare import Prepared
from .session import open_session
from .settings import SessionSettings
from .stepper import owned_value

__all__ = [
    "BURST",
    "COPIES",
    "COPY_BYTES",
    "SCHEMA",
    "SIZES",
    "Ceilings",
    "Sample",
    "ceilings_of",
    "measure_ceilings",
    "read_ceilings",
]

SCHEMA = "fathom-onnx/ceilings/1"
"""Name and version of the JSON schema."""

SIZES: dict[str, tuple[int, ...]] = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Provider to the sides of its square products: a GPU is not busy with what fills a CPU."""

BURST: dict[str, int] = {"cpu": 1, "cuda": 10}
"""Provider to the runs that are started before one waits for them: starting a run takes tens of microseconds, and a
GPU of today needs no more than some hundred for a copy of this size."""

COPY_BYTES = 256 * 2**20
"""Bytes of one buffer of a copy: far beyond the last level of cache of a machine of today."""

COPIES: tuple[str, ...] = ("Relu", "Add")
"""Elementwise ops that stand for a copy: one buffer read and one written; two read and one written."""

_SIDE = 4096


@dataclass(frozen=True)
class Sample:
    """The best time of one op.

    Attributes:
        op: The op type.
        size: Side of the product, or elements of a buffer of the copy.
        seconds: The shortest run or, of runs that were started together, the shortest mean.
        runs: How many were timed.
        work: FLOPs of a product, bytes of a copy.
    """

    op: str
    size: int
    seconds: float
    runs: int
    work: int

    @property
    def giga(self) -> float:
        """GFLOP/s or GB/s (10^9)."""
        return self.work / self.seconds / 1e9


@dataclass(frozen=True)
class Ceilings:
    """The two ceilings of a machine, and what they were measured with.

    Attributes:
        gflops: GFLOP/s of the best product.
        gbytes: GB/s of the best copy.
        products: All products.
        copies: All copies.
        facts: Provider, threads, CPU, its cores and the version of onnxruntime; on CUDA the device's name as ``gpu``
            and whether products may use TensorFloat-32 as ``tf32``, else None.
    """

    gflops: float
    gbytes: float
    products: tuple[Sample, ...]
    copies: tuple[Sample, ...]
    facts: dict[str, Any]

    @property
    def ridge(self) -> float:
        """FLOPs a byte at which both ceilings bind."""
        return self.gflops / self.gbytes

    def as_json(self) -> dict[str, Any]:
        """One object of schema :data:`SCHEMA`."""
        return {
            "schema": SCHEMA,
            **self.facts,
            "gflops": self.gflops,
            "gbytes_per_second": self.gbytes,
            "ridge_flops_per_byte": self.ridge,
            "products": [{**asdict(s), "gflops": s.giga} for s in self.products],
            "copies": [{**asdict(s), "gbytes_per_second": s.giga} for s in self.copies],
        }


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
        samples = [
            tuple(Sample(*(row[name] for name in ("op", "size", "seconds", "runs", "work"))) for row in stored[kind])
            for kind in ("products", "copies")
        ]
        facts = {name: stored[name] for name in ("provider", "threads", "cpu", "cpu_cores", "onnxruntime")}
        facts |= {name: stored.get(name) for name in ("gpu", "tf32")}  # older files have none: they are of CPUs
        gflops, gbytes = float(stored["gflops"]), float(stored["gbytes_per_second"])
        if not (np.isfinite(gflops) and np.isfinite(gbytes) and gflops > 0 and gbytes > 0):
            raise ValueError("a ceiling is not above zero")
        return Ceilings(gflops, gbytes, samples[0], samples[1], facts)
    except (ValueError, KeyError, TypeError) as error:
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


def _model(op: str, shape: Sequence[int], operands: int) -> Prepared:
    info = [helper.make_tensor_value_info(f"x{i}", onnx.TensorProto.FLOAT, shape) for i in range(operands)]
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node(op, [i.name for i in info], ["y"])], op, info, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return Prepared(model, {}, (), {})


def _time(
    op: str, shape: Sequence[int], operands: int, settings: SessionSettings, budget_s: float, burst: int
) -> list[float]:
    """Seconds a run of one op on buffers that are there before it: at least three bursts of runs, within the budget."""
    ort = onnxruntime(PROVIDERS[settings.ep].extra)
    device = PROVIDERS[settings.ep].device
    session = open_session(_model(op, shape, operands), settings)
    binding = session.io_binding()
    rng = np.random.default_rng(0)
    # the same values for every operand: drawing them costs more than the runs
    value = rng.random(shape, np.float32)
    for position in range(operands):
        binding.bind_ortvalue_input(f"x{position}", owned_value(ort, value, device))
    binding.bind_ortvalue_output("y", owned_value(ort, value, device))
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    started_only = ort.RunOptions()
    # else every run waits for the device before it returns
    started_only.add_run_config_entry("disable_synchronize_execution_providers", "1")
    seconds: list[float] = []
    end = time.perf_counter() + budget_s
    while len(seconds) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        for _ in range(burst):
            session.run_with_iobinding(binding, started_only)
        binding.synchronize_outputs()
        seconds.append((time.perf_counter() - started) / burst)
    return seconds


def measure_ceilings(
    settings: SessionSettings,
    *,
    sizes: Sequence[int] | None = None,
    copy_bytes: int = COPY_BYTES,
    budget_s: float = 0.5,
) -> Ceilings:
    """Measure the ceilings of this machine; a few seconds.

    Args:
        settings: Provider and threads and, on CUDA, whether products may use TensorFloat-32.
        sizes: Sides of the square products; those of :data:`SIZES` when not given.
        copy_bytes: Bytes of one buffer of a copy.
        budget_s: Seconds to time each of them, once warm.

    Raises:
        UsageError: A size is too small to measure.
        MissingDependencyError: onnxruntime or the provider is absent.
        RunError: onnxruntime refuses.
    """
    rows, burst = copy_bytes // (4 * _SIDE), BURST[settings.ep]
    sizes = SIZES[settings.ep] if sizes is None else sizes
    if not sizes or min(sizes) < 1 or rows < 1:
        raise UsageError("there is nothing to measure", f"give sizes of 1 or more and copies of {4 * _SIDE} bytes")
    products = []
    for size in sizes:
        seconds = _time("MatMul", (size, size), 2, settings, budget_s, burst)
        products.append(Sample("MatMul", size, min(seconds), burst * len(seconds), 2 * size**3))
    copies = []
    for op in COPIES:
        operands = 2 if op == "Add" else 1
        seconds = _time(op, (rows, _SIDE), operands, settings, budget_s, burst)
        copies.append(Sample(op, rows * _SIDE, min(seconds), burst * len(seconds), 4 * rows * _SIDE * (operands + 1)))
    facts = {
        "provider": settings.ep,
        "threads": settings.threads,
        "cpu": cpu_model(),
        "cpu_cores": cpu_cores(),
        "onnxruntime": onnxruntime().__version__,
        "gpu": gpu_facts()["name"] if settings.ep == "cuda" else None,
        "tf32": settings.tf32 if settings.ep == "cuda" else None,
    }
    return Ceilings(max(s.giga for s in products), max(s.giga for s in copies), tuple(products), tuple(copies), facts)
