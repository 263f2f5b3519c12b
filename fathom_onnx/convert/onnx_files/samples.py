"""Comparison of two graphs that differ only in the batch size, on the same samples in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fathom_onnx.errors import FathomError, GraphError, StepError, one_line
from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from fathom_onnx.workloads.contract import Array

from .onnx_file import copy_of

__all__ = ["compare_samples"]

_TOLERANCE = 1e-4
"""Largest difference of an output element over the output's largest: another batch size sums in another order."""

LONGEST_S = 60.0
"""Seconds after which a run of a graph with a loop is ended."""


def _drawn(tensor: Tensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if np.issubdtype(np.dtype(tensor.dtype), np.floating):
        return rng.normal(size=shape).astype(tensor.dtype)
    return rng.integers(0, 2, shape).astype(tensor.dtype)  # valid as an index of any table and as any class


def _run(graph: Graph, samples: Mapping[str, Array], count: int, batch: int, axes: Mapping[str, int]) -> list[Array]:
    """The outputs for ``count`` samples, run in batches; the last batch is filled up with the first samples."""
    settings = SessionSettings(threads=1, longest_step_s=LONGEST_S)
    stepper = open_stepper(Prepared(copy_of(graph.model), {}, (), {}), settings)
    parts: list[list[Array]] = []
    for start in range(0, count, batch):
        rows = np.arange(start, start + batch) % count
        stepper.step({n: v[rows] if v.ndim else v for n, v in samples.items()})
        results = stepper.results()
        parts.append([results[name] for name in axes])
    return [
        np.concatenate(part, axis).take(np.arange(count), axis)
        for part, axis in zip(zip(*parts, strict=True), axes.values(), strict=True)
    ]


def compare_samples(before: Graph, after: Graph, axes: Mapping[str, int], old: int, new: int) -> None:
    """Check, on random samples, that both graphs have the same outputs for every sample up to rounding.

    Args:
        before: The graph at batch size ``old``.
        after: The graph at batch size ``new``; the first axis of its inputs is the batch.
        axes: Output name to the axis that enumerates the samples; where there is none, both graphs are run and no more.
        old: Batch size of ``before``.
        new: Batch size of ``after``.

    Raises:
        GraphError: The outputs differ, or a graph cannot be run.
        MissingDependencyError: onnxruntime is not installed.
    """
    rng = np.random.default_rng(0)
    count = max(old, new)
    without = "convert with --check shapes to do without"
    fix = without
    try:
        samples = {t.name: _drawn(t, (count, *t.shape[1:]) if t.shape else (), rng) for t in after.inputs}
        expected = _run(before, samples, count, old, axes)
        fix = "export the model with the batch wanted"
        actual = _run(after, samples, count, new, axes)
    except Exception as error:  # numpy has no such type, or onnxruntime fails on such values
        if isinstance(error, FathomError) and not isinstance(error, StepError):
            raise
        reason = error.message if isinstance(error, StepError) else one_line(error)
        raise GraphError(
            f"graph '{after.name}' cannot be run at batch {old} and then {new} on random inputs ({reason})", fix
        ) from error
    for name, a, b in zip(axes, expected, actual, strict=True):
        if a.dtype.kind not in "fiub":  # texts
            if not np.array_equal(a, b):
                raise _other(name, after)
            continue
        finite = np.abs(a[np.isfinite(a)].astype(np.float64))
        if not finite.size:
            raise GraphError(f"output '{name}' of graph '{after.name}' is not finite on random inputs", without)
        if not np.allclose(b, a, rtol=0, atol=_TOLERANCE * float(finite.max()), equal_nan=True):
            raise _other(name, after)


def _other(name: str, graph: Graph) -> GraphError:
    return GraphError(
        f"output '{name}' of graph '{graph.name}' differs from the original's on the same samples",
        "it holds its batch in a way that cannot be rewritten; export the model with the batch wanted",
    )
