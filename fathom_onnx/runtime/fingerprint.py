"""Fingerprints: compact values of tensors, to match tensors of an optimized model with those of the original.

A fingerprint does not depend on the order of elements nor on zeros, so that a tensor is known again after a
transpose, and in the blocked, zero-padded layout that onnxruntime's CPU convolutions use. Random ops get the same
seed in every model where their output has the same name; what follows from them can then be compared too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from fathom_onnx.errors import RunError
from fathom_onnx.graph.dataflow import RANDOM
from fathom_onnx.refusals import explain
from fathom_onnx.runtime.providers.names import FATAL_ONLY, PROVIDERS, onnxruntime
from fathom_onnx.workloads.contract import Array

from .session import give_folder, give_operators, give_values
from .settings import SessionSettings

__all__ = ["Fingerprint", "fingerprint", "fingerprints", "perturbed"]

POINTS = 33
"""Quantiles that are kept of a tensor."""

CHUNK_BYTES = 1 << 28
"""Tensors are exposed some at a time, so that not all of a large graph's are alive at once."""

UNKNOWN_BYTES = 1 << 24
"""Size that a tensor is taken to have where its shape is not known."""


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of a tensor's values.

    Attributes:
        count: Number of elements that are not zero.
        quantiles: Evenly spaced quantiles of those elements, float64 [POINTS].
    """

    count: int
    quantiles: npt.NDArray[np.float64]

    def matches(self, other: Fingerprint, tolerance: float = 1e-3) -> bool:
        """Whether two tensors hold the same values but for their order, zeros and rounding."""
        largest = max(self.count, other.count)
        if largest == 0 or abs(self.count - other.count) > tolerance * largest:
            return False  # a tensor of zeros is like any other
        scale = float(np.abs(self.quantiles).max())
        return bool(np.abs(self.quantiles - other.quantiles).max() <= tolerance * scale)


def fingerprint(value: Array) -> Fingerprint | None:
    """The fingerprint of an array, or None for one that holds no finite numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        return None
    flat = value.ravel().astype(np.float64)
    flat = np.sort(flat[flat != 0])
    if not np.isfinite(flat).all():
        return None
    if flat.size == 0:
        return Fingerprint(0, np.zeros(POINTS))
    places = np.linspace(0, flat.size - 1, POINTS).round().astype(np.int64)
    return Fingerprint(int(flat.size), flat[places])


def perturbed(values: Mapping[str, Array]) -> dict[str, Array]:
    """State values in which no two tensors are alike: constants get small positive noise.

    Fresh optimizer state is all zeros and fresh biases too; results of different nodes would be equal.
    """
    changed: dict[str, Array] = {}
    for name, value in values.items():
        if value.dtype.kind == "f" and value.size and (value == value.flat[0]).all():
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
            value = (value + np.random.default_rng(key).uniform(0.05, 0.15, value.shape)).astype(value.dtype)
        changed[name] = value
    return changed


def _exposing(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The model with only ``names`` as outputs and its random ops seeded by the names of their outputs."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    for node in exposed.graph.node:
        if node.op_type in RANDOM:
            kept = [a for a in node.attribute if a.name != "seed"]
            del node.attribute[:]
            node.attribute.extend(kept)
            seed = int.from_bytes(hashlib.sha256(node.output[0].encode()).digest()[:2], "little")
            node.attribute.append(onnx.helper.make_attribute("seed", float(seed)))
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return exposed


def _chunks(names: Collection[str], sizes: Mapping[str, int]) -> list[list[str]]:
    chunks: list[list[str]] = []
    chunk_bytes = CHUNK_BYTES
    for name in names:
        size = sizes.get(name, UNKNOWN_BYTES)
        if chunk_bytes + size > CHUNK_BYTES:
            chunks.append([])
            chunk_bytes = 0
        chunks[-1].append(name)
        chunk_bytes += size
    return chunks


def fingerprints(
    model: onnx.ModelProto,
    names: Collection[str],
    feeds: Mapping[str, Array],
    *,
    values: Mapping[str, Array] | None = None,
    sizes: Mapping[str, int] | None = None,
    folder: Path | None = None,
    ep: str = "cpu",
    custom_ops: Sequence[Path] = (),
) -> dict[str, Fingerprint]:
    """Fingerprints of some tensors of a model, run once without optimization.

    Args:
        model: The original model or an optimized one.
        names: Tensors to look at.
        feeds: Values of every input.
        values: Large initializers that the model only declares, by name.
        sizes: Sizes of the tensors in bytes, where known.
        folder: Folder in which the model's external weights lie.
        ep: Provider to run it on: the one that it was optimized for, whose fused nodes another may not have.
        custom_ops: Libraries of operators of someone's own.

    Raises:
        RunError: onnxruntime cannot run it.
    """
    ort = onnxruntime()
    by_name: dict[str, Fingerprint] = {}
    for chunk in _chunks(names, sizes or {}):
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = FATAL_ONLY
        given = give_values(ort, options, values or {})
        give_folder(options, folder)
        give_operators(options, custom_ops)
        try:
            data = _exposing(model, chunk).SerializeToString()
            provider = (PROVIDERS[ep].full_name, SessionSettings(ep).provider_options)
            session = ort.InferenceSession(data, options, providers=[provider])
            inputs = {i.name for i in session.get_inputs()}
            outputs = session.run(chunk, {name: value for name, value in feeds.items() if name in inputs})
        except Exception as error:
            refusal = explain(error)
            raise RunError(
                f"onnxruntime cannot run a model to compare values ({refusal.reason})", refusal.advice_or("report it")
            ) from error
        del session, given  # in this order: the session borrows the values
        for name, value in zip(chunk, outputs, strict=True):
            summary = fingerprint(value)
            if summary is not None:
                by_name[name] = summary
    return by_name
