"""Measuring ceilings: products in each number type, copies through memory, and copies whose data stay in a cache.

FLOPs of a product are twice its multiply-accumulates; bytes are each input and each output once, as everywhere in this
package: what a cache fetches in order to write a line is not counted. Outputs are bound to buffers that exist, so that
no time goes into fresh memory. A chain of copies is there because most of a model's elementwise nodes write where they
have read: nothing has to be fetched in order to be overwritten.

On a GPU a run takes less than it takes the host to start it, unless the work is large. So products are larger there,
and runs are started one after the other without waiting; the clock stops when the device has done them all.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fathom_onnx.errors import RunError, UsageError
from fathom_onnx.runtime.environment import cpu_cores, cpu_model
from fathom_onnx.runtime.optimized import load_optimized
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.providers.gpu import gpu_facts
from fathom_onnx.runtime.providers.names import PROVIDERS, onnxruntime
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import owned_value
from fathom_onnx.workloads.contract import Array

from .ceilings import Ceilings, Sample

__all__ = [
    "BURST",
    "CACHE_BYTES",
    "CHANNELS",
    "COPIES",
    "COPY_BYTES",
    "PRODUCTS",
    "SIZES",
    "TYPES",
    "Product",
    "measure_ceilings",
]

SIZES: dict[str, tuple[int, ...]] = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Provider to the sides of its square products: a GPU is not busy with what fills a CPU."""

CHANNELS = 256
"""Channels of the convolution, which is 3 x 3 on images of 28 x 28."""

BATCH: dict[str, int] = {"cpu": 4, "cuda": 256}
"""Provider to the images of the convolution."""

BURST: dict[str, int] = {"cpu": 1, "cuda": 10}
"""Provider to the runs that are started before one waits for them: starting a run takes tens of microseconds, and a
GPU of today needs no more than some hundred for a copy of this size."""

COPY_BYTES = 256 * 2**20
"""Bytes of one buffer of a copy: far beyond the last level of cache of a machine of today."""

CACHE_BYTES: tuple[int, ...] = tuple(2**power for power in range(19, 29))
"""Bytes that a copy moves whose data may stay in a cache: half a mebibyte to 256."""

COPIES: tuple[str, ...] = ("Relu", "Add")
"""Elementwise ops that stand for a copy: one buffer read and one written; two read and one written."""

_CHAIN = 16
_SIDE = 4096
_IMAGE = 28
_KERNEL = 3


class Product(NamedTuple):
    """A form of a product: what it computes in, the op, and the types of its two operands."""

    compute_type: str
    op: str
    operands: tuple[str, str]


PRODUCTS: tuple[Product, ...] = (
    Product("float32", "MatMul", ("float32", "float32")),
    Product("float32", "Conv", ("float32", "float32")),
    Product("float16", "MatMul", ("float16", "float16")),
    Product("float16", "Conv", ("float16", "float16")),
    Product("int8", "MatMulInteger", ("uint8", "int8")),
    Product("int8", "MatMulInteger", ("int8", "int8")),
    Product("int8", "QLinearConv", ("uint8", "int8")),
    Product("float64", "MatMul", ("float64", "float64")),
)
"""The forms that are tried; the fastest of a number type is its ceiling."""

TYPES: tuple[str, ...] = ("float32", "float16", "int8")
"""Number types that are measured unless others are asked for."""


@dataclass(frozen=True)
class _Case:
    """A model to time: its nodes, the values it is fed, its weights, and the type and shape of its output."""

    nodes: tuple[onnx.NodeProto, ...]
    fed: dict[str, Array]
    output: tuple[str, tuple[int, ...]]
    weights: dict[str, Array] = field(default_factory=dict)

    def prepared(self) -> Prepared:
        """The model as a session takes it."""
        kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in self.fed.items()}
        inputs = [helper.make_tensor_value_info(n, kinds[n], value.shape) for n, value in self.fed.items()]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.output[0]))
        result = helper.make_tensor_value_info("y", kind, self.output[1])
        weights = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(list(self.nodes), "ceiling", inputs, [result], weights)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        return Prepared(helper.make_model(graph, opset_imports=opsets, ir_version=10), {}, (), {})


def _values(shape: Sequence[int], dtype: str) -> Array:
    rng = np.random.default_rng(0)
    if dtype in ("int8", "uint8"):
        return rng.integers(0, 100, shape, dtype=dtype)
    return rng.random(shape, np.float32).astype(dtype)


def _matrix_product(form: Product, size: int) -> tuple[_Case, int]:
    """The product of two square matrices and its FLOPs."""
    first, second = (_values((size, size), dtype) for dtype in form.operands)
    node = helper.make_node(form.op, ["x", "w"], ["y"])
    result = "int32" if form.op == "MatMulInteger" else form.operands[0]
    return _Case((node,), {"x": first}, (result, (size, size)), {"w": second}), 2 * size**3


def _convolution(form: Product, channels: int, batch: int) -> tuple[_Case, int]:
    """A 3 x 3 convolution that keeps the size of its images, and its FLOPs."""
    weights = _values((channels, channels, _KERNEL, _KERNEL), form.operands[1])
    flops = 2 * batch * channels * channels * _KERNEL**2 * _IMAGE**2
    if form.op == "Conv":
        images = _values((batch, channels, _IMAGE, _IMAGE), form.operands[0])
        node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
        return _Case((node,), {"x": images}, (form.operands[0], images.shape), {"w": weights}), flops
    # the layout in which onnxruntime runs quantized convolutions
    images = _values((batch, _IMAGE, _IMAGE, channels), form.operands[0])
    names = ["x", "scale", "zero", "w", "scale", "zero_w", "scale", "zero"]
    node = helper.make_node(form.op, names, ["y"], domain="com.microsoft", channels_last=1, pads=[1] * 4)
    quantization = {"scale": np.float32(0.1), "zero": np.uint8(128), "zero_w": np.int8(0)}
    beside = {name: np.asarray(value) for name, value in quantization.items()}
    return _Case((node,), {"x": images}, (form.operands[0], images.shape), {"w": weights, **beside}), flops


def _copy(op: str, shape: tuple[int, int], chained: int = 1) -> _Case:
    """An elementwise op, or several one after the other: all but the first and the last write where they read."""
    values = _values(shape, "float32")
    if op == "Add":
        # the same values for both: drawing them costs more than the runs
        return _Case((helper.make_node(op, ["x", "x2"], ["y"]),), {"x": values, "x2": values}, ("float32", shape))
    names = ["x", *(f"t{i}" for i in range(chained - 1)), "y"]
    nodes = tuple(helper.make_node(op, [names[i]], [names[i + 1]]) for i in range(chained))
    return _Case(nodes, {"x": values}, ("float32", shape))


def _time(case: _Case, settings: SessionSettings, budget_s: float, burst: int) -> list[float]:
    """Seconds of a run on buffers that are there before it: at least three bursts of runs, within the budget.

    Raises:
        RunError: onnxruntime refuses the model, or computes it in another number type.
    """
    ort = onnxruntime(PROVIDERS[settings.ep].extra)
    device = PROVIDERS[settings.ep].device
    with tempfile.TemporaryDirectory(prefix="fathom-onnx-") as folder:
        saved = Path(folder) / "optimized.onnx"
        session = open_session(case.prepared(), settings, optimized_to=saved)
        if any(node.op_type == "Cast" for node in load_optimized(saved).graph.node):
            raise RunError("the provider computes it in another number type, with casts around it")
    binding = session.io_binding()
    for name, value in case.fed.items():
        binding.bind_ortvalue_input(name, owned_value(ort, value, device))
    binding.bind_ortvalue_output("y", owned_value(ort, np.zeros(case.output[1], case.output[0]), device))
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


def _products(
    forms: Sequence[Product], sizes: Sequence[int], channels: int, settings: SessionSettings, budget_s: float
) -> list[Sample]:
    """Products of one number type: each form at the smallest size, matrix products of the fastest at all sizes.

    Raises:
        RunError: onnxruntime runs none of the forms.
    """

    def sample(form: Product, size: int) -> Sample:
        convolves = form.op not in ("MatMul", "MatMulInteger")
        case, flops = _convolution(form, channels, BATCH[settings.ep]) if convolves else _matrix_product(form, size)
        seconds = _time(case, settings, budget_s, BURST[settings.ep])
        of = channels if convolves else size
        runs = BURST[settings.ep] * len(seconds)
        return Sample(form.op, of, min(seconds), runs, flops, form.compute_type, " x ".join(form.operands))

    found: dict[Product, Sample] = {}
    refused: list[RunError] = []
    for form in forms:
        try:
            found[form] = sample(form, sizes[0])
        except RunError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    matrices = [form for form in found if form.op in ("MatMul", "MatMulInteger")]
    fastest = max(matrices, key=lambda form: found[form].giga, default=None)
    more = [sample(fastest, size) for size in sizes[1:]] if fastest else []
    return [*found.values(), *more]


def measure_ceilings(
    settings: SessionSettings,
    *,
    types: Collection[str] = TYPES,
    sizes: Sequence[int] | None = None,
    channels: int = CHANNELS,
    copy_bytes: int = COPY_BYTES,
    cache_bytes: Sequence[int] = CACHE_BYTES,
    budget_s: float = 0.4,
) -> Ceilings:
    """Measure the ceilings of this machine; some ten seconds.

    Args:
        settings: Provider and threads and, on CUDA, whether products may use TensorFloat-32.
        types: Number types of the products; float32 is always measured, and one without a form is not.
        sizes: Sides of the square products; those of :data:`SIZES` when not given.
        channels: Channels of the convolution.
        copy_bytes: Bytes of one buffer of a copy.
        cache_bytes: Bytes moved by the copies whose data may stay in a cache.
        budget_s: Seconds to time each of them, once warm.

    Raises:
        UsageError: A size is too small to measure.
        MissingDependencyError: onnxruntime or the provider is absent.
        RunError: onnxruntime refuses float32 or the copies.
    """
    rows, burst = copy_bytes // (4 * _SIDE), BURST[settings.ep]
    sizes = SIZES[settings.ep] if sizes is None else sizes
    if not sizes or min(sizes) < 1 or rows < 1 or channels < 1:
        raise UsageError("there is nothing to measure", f"give sizes of 1 or more and copies of {4 * _SIDE} bytes")
    products: list[Sample] = []
    not_measured: dict[str, str] = {}
    for kind in dict.fromkeys(("float32", *types)):
        forms = [form for form in PRODUCTS if form.compute_type == kind]
        try:
            if forms:
                products += _products(forms, sizes, channels, settings, budget_s)
            else:
                not_measured[kind] = "there is no form of a product to measure it with"
        except RunError as error:
            if kind == "float32":
                raise
            not_measured[kind] = error.message
    copies = []
    for op, chained in (*((op, 1) for op in COPIES), (COPIES[0], _CHAIN)):
        moved = 4 * rows * _SIDE * (3 if op == "Add" else 2)
        copies.append(_copied(op, (rows, _SIDE), chained, moved, settings, budget_s, burst))
    in_cache = [
        _copied(COPIES[0], (size // 512, 64), _CHAIN, size // 512 * 512, settings, budget_s / 4, burst)
        for size in cache_bytes
    ]
    facts = {
        "provider": settings.ep,
        "threads": settings.threads,
        "cpu": cpu_model(),
        "cpu_cores": cpu_cores(),
        "onnxruntime": onnxruntime().__version__,
        "gpu": gpu_facts()["name"] if settings.ep == "cuda" else None,
        "tf32": settings.tf32 if settings.ep == "cuda" else None,
    }
    gflops = max(s.giga for s in products if s.compute_type == "float32")
    best_copy = max(s.giga for s in copies)
    return Ceilings(gflops, best_copy, tuple(products), tuple(copies), facts, tuple(in_cache), not_measured)


def _copied(
    op: str, shape: tuple[int, int], chained: int, moved: int, settings: SessionSettings, budget_s: float, burst: int
) -> Sample:
    """A copy, or one of a chain of them: its share of the chain's time."""
    seconds = _time(_copy(op, shape, chained), settings, budget_s, burst)
    form = "in place" if chained > 1 else ""
    return Sample(op, shape[0] * shape[1], min(seconds) / chained, burst * len(seconds), moved, "", form)
