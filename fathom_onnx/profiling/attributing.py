"""The attribution of a measured graph, by names, and by values where names leave a question.

Values are computed once more, by the graph as it is written and by the model that onnxruntime ran.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx

from fathom_onnx.analysis.attribution.attribution import Attribution, Matching
from fathom_onnx.errors import RunError
from fathom_onnx.graph import Tensor
from fathom_onnx.graph.tensors import tensors_of
from fathom_onnx.runtime.fingerprint import fingerprints, perturbed
from fathom_onnx.runtime.optimized import load_optimized
from fathom_onnx.runtime.profiler import Measurement, same_nodes
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings

from .fed import FedGraph

__all__ = ["attribute"]


def attribute(fed: FedGraph, measurement: Measurement, settings: SessionSettings) -> Attribution:
    """Attribute the executed nodes of a measured graph; values are compared only where names leave a question.

    Args:
        fed: The graph and what it was fed.
        measurement: What was measured.
        settings: How it ran: the values are computed on the same provider.

    Raises:
        RunError: onnxruntime cannot run the graph again to compare values.
    """
    graph, model = fed.graph, measurement.optimized
    matching = Matching(graph, model)
    if not matching.questions:
        return matching.attribution()
    with _with_weights(fed, measurement, settings) as (model, folder):
        if model is not measurement.optimized:
            matching = Matching(graph, model)
        feeds = {**fed.batches[0], **perturbed(fed.prepared.initial)}
        executed_values = fingerprints(
            model,
            _names_of(q.executed for q in matching.questions),
            feeds,
            sizes=_sizes(tensors_of(model.graph)),
            folder=folder,
            ep=settings.ep,
            custom_ops=settings.custom_ops,
        )
    original_values = fingerprints(
        fed.prepared.model,
        _names_of(q.original for q in matching.questions),
        feeds,
        values=fed.prepared.values,
        sizes=_sizes(graph.tensors),
        folder=fed.prepared.folder,
        ep=settings.ep,
        custom_ops=settings.custom_ops,
    )
    return matching.attribution(original_values, executed_values)


@contextlib.contextmanager
def _with_weights(
    fed: FedGraph, measurement: Measurement, settings: SessionSettings
) -> Iterator[tuple[onnx.ModelProto, Path]]:
    """The optimized model and the folder of its weights; they are made once more where the round's are gone."""
    kept = measurement.rounds[0].model_folder
    if kept is not None:
        yield measurement.optimized, kept
        return
    with tempfile.TemporaryDirectory(prefix="fathom-onnx-") as folder:
        path = Path(folder, "optimized.onnx")
        open_session(fed.prepared, settings, optimized_to=path)
        model = load_optimized(path)
        if not same_nodes(model, measurement.optimized):
            raise RunError("onnxruntime makes another model of the graph now than it ran", "measure it again")
        yield model, path.parent


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: t.size_bytes for name, t in tensors.items() if t.size_bytes is not None}


def _names_of(tables: Iterable[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))
