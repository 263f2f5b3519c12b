"""Endless batches for a workload or a graph, from a data source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fathom_onnx.errors import DataError
from fathom_onnx.graph.model import Graph
from fathom_onnx.recipes import PRESET, RecipeWorkload
from fathom_onnx.workloads import definition
from fathom_onnx.workloads.contract import RATE, Array, Draw, Mode, Noise, NoiseSource, TensorSpec, Workload

from .contract import Batch, BatchRequest, RequestedTensor, Source, Split
from .drawn.batches import drawn_inputs
from .sources import EXAMPLE, SOURCES, SYNTHETIC, named_source, usual_source

__all__ = ["DISTINCT_BATCHES", "batches", "batches_for", "batches_for_graph", "source_for_graph", "workload_of"]

DISTINCT_BATCHES = 4
"""Batches that a measurement draws and takes in turn: no step sees only one, and they fit in memory."""

_HELD_OUT_SEED = 2**31


def batches(
    source: str,
    specs: Sequence[RequestedTensor],
    seed: int,
    draws: Mapping[str, Draw] | None = None,
    examples: Mapping[str, Array] | None = None,
    split: Split = "all",
    remark: Callable[[str], None] | None = None,
) -> Iterator[Batch]:
    """Endless batches from a source.

    Args:
        source: A name of :data:`SOURCES`, or ``READER:PATH``.
        specs: The tensors of a batch: name, shape and dtype of each.
        seed: The same seed gives the same batches.
        draws: Input name to the distribution that the synthetic source draws it from; by default from its type.
        examples: Input name to its values in the example batch of a recipe, for the source that gives it.
        split: Which part of its data.
        remark: Told what a user should know of the data.

    Raises:
        UnknownNameError: No such source.
        DataError: The source cannot provide these tensors (raised by this call, not at the first batch).
    """
    found = SOURCES.get(source) or named_source(source)
    # held-out data that a source makes: those of a seed which nobody gives
    own = seed if split != "held-out" else seed + _HELD_OUT_SEED
    request = BatchRequest(tuple(specs), own, dict(draws or {}), dict(examples or {}), split)
    stream = found.open(replace(request, remark=remark) if remark else request)
    first = next(stream, None)
    if first is None:
        raise DataError(f"data source '{source}' has no batch", "see that it goes on without end")

    def all_batches() -> Iterator[Batch]:
        yield first
        yield from stream

    return all_batches()


def _joined(
    source: str,
    specs: Sequence[TensorSpec],
    drawn: Sequence[TensorSpec],
    seed: int,
    examples: Mapping[str, Array] | None = None,
    split: Split = "all",
    remark: Callable[[str], None] | None = None,
) -> Iterator[Batch]:
    """Batches of ``specs`` from a source, each with the ``drawn`` tensors (noise), which no data set has."""
    main = batches(source, specs, seed, {s.name: s.draw for s in specs}, examples, split, remark)
    if not drawn:
        return main
    noise = batches(SYNTHETIC, drawn, seed, {s.name: s.draw for s in drawn})
    return ({**a, **b} for a, b in zip(main, noise, strict=True))


def batches_for(
    workload: Workload,
    mode: Mode,
    seed: int,
    source: str | None = None,
    noise: NoiseSource = "graph",
    split: Split = "all",
) -> Iterator[Batch]:
    """Endless batches for a workload, from its own source (or the stand-in of it) unless another is named.

    With ``noise="input"`` a batch also has the workload's random tensors, drawn from their distributions.

    Raises:
        UnknownNameError: No such source.
        DataError: The source cannot feed the workload at this configuration.
    """
    drawn = [n.spec for n in workload.noise.get(mode, ())] if noise == "input" else []
    examples = workload.example if isinstance(workload, RecipeWorkload) else {}
    name = source or usual_source(workload.data).name
    return _joined(name, workload.batch_inputs(mode), drawn, seed, examples, split)


def workload_of(graph: Graph) -> Workload | None:
    """The workload that a graph of this package was exported from, or None for any other graph.

    Of a recipe's graph there is none: it cannot be made again without the user's model.

    Raises:
        UnknownNameError: A workload, preset or field that this installation does not have.
    """
    meta = graph.metadata
    if meta is None or meta.preset == PRESET:
        return None
    changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in meta.config.items()}
    found = definition(meta.workload).configure(meta.preset, changes)
    return replace(found, rate_input=any(v.name == RATE for v in meta.variables))


def source_for_graph(graph: Graph) -> Source:
    """The source that feeds a graph: that of its workload (or the stand-in of it), or the synthetic one for any other.

    Raises:
        UnknownNameError: The metadata names a source that this installation does not have.
        GraphError: The example batch of a recipe's graph cannot be read.
    """
    name = graph.metadata.data if graph.metadata else SYNTHETIC
    return usual_source(SYNTHETIC if name == EXAMPLE and not _has_example(graph) else name)


def _has_example(graph: Graph) -> bool:
    """Whether a recipe's graph has its whole example batch beside it, noise left out."""
    noise = graph.metadata.draws if graph.metadata else {}
    return all(tensor.name in graph.stored_values or tensor.name in noise for tensor in graph.batch_inputs)


def batches_for_graph(
    graph: Graph,
    seed: int,
    source: str | None = None,
    only: Collection[str] | None = None,
    split: Split = "all",
    remark: Callable[[str], None] | None = None,
) -> Iterator[Batch]:
    """Endless batches for a graph's batch inputs; values are drawn for a graph of another origin.

    Args:
        graph: The graph.
        seed: The same seed gives the same batches.
        source: A name of :data:`SOURCES`, or ``READER:PATH``; by default that of the graph's workload.
        only: Names of the inputs that are wanted; all of them by default.
        split: Which part of the source's data; the example batch of a recipe is all there is of it.
        remark: Told what a user should know of the data.

    Raises:
        UnknownNameError: No such source, or the metadata names a workload that this installation does not have.
        DataError: An input cannot be fed: its shape is unknown, or differs from that of its workload.
        GraphError: The example batch of a recipe's graph cannot be read.
    """
    if source in (None, EXAMPLE) and source_for_graph(graph).name == EXAMPLE:
        return _examples(graph, seed, only)
    workload = workload_of(graph)
    if workload is None or graph.metadata is None:
        drawn = drawn_inputs(graph, only)
        if source in (None, SYNTHETIC):
            return drawn.batches(seed)
        specs = [TensorSpec(d.name, d.sizes or (), d.dtype) for d, _ in drawn.drawings]
        return batches(source, specs, seed, split=split, remark=remark)
    inputs = [tensor for tensor in graph.batch_inputs if only is None or tensor.name in only]
    mode = graph.metadata.mode
    data = {spec.name: spec for spec in workload.batch_inputs(mode)}
    noise = {n.name: n.spec for n in workload.noise.get(mode, ())}
    for tensor in inputs:
        spec = data.get(tensor.name) or noise.get(tensor.name)
        if spec is None or spec.shape != tensor.shape or spec.dtype != tensor.dtype:
            expected = f"{spec.dtype} {list(spec.shape)}" if spec else "no such input"
            raise DataError(
                f"input '{tensor.name}' of graph '{graph.name}' is {tensor.dtype} {list(tensor.shape or ())}; "
                f"workload '{workload.name}' has {expected}",
                "export the graph again",
            )
    names = [t.name for t in inputs]
    return _joined(
        source or source_for_graph(graph).name,
        [data[n] for n in names if n in data],
        [noise[n] for n in names if n in noise],
        seed,
        split=split,
        remark=remark,
    )


def _examples(graph: Graph, seed: int, only: Collection[str] | None) -> Iterator[Batch]:
    """The example batch of a recipe's graph, with noise inputs drawn from their distributions."""
    assert graph.metadata is not None
    kinds = graph.metadata.draws
    inputs = [tensor for tensor in graph.batch_inputs if only is None or tensor.name in only]
    specs = [TensorSpec(t.name, t.shape or (), t.dtype) for t in inputs if t.name not in kinds]
    noise = [Noise(t.name, t.shape or (), kinds[t.name]).spec for t in inputs if t.name in kinds]
    return _joined(EXAMPLE, specs, noise, seed, graph.stored_values)
