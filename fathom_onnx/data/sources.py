"""The table of data sources, and the streams of batches for a workload or a graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from fathom_onnx.errors import DataError, UnknownNameError
from fathom_onnx.graph.model import Graph
from fathom_onnx.plugins import named_part, part_names
from fathom_onnx.recipes import PRESET, RecipeWorkload
from fathom_onnx.workloads import definition
from fathom_onnx.workloads.contract import RATE, Array, Draw, Mode, Noise, NoiseSource, TensorSpec, Workload

from .contract import Batch, BatchRequest, RequestedTensor, Source, Split
from .corpora import corpus_source, readers
from .drawn.batches import drawn_inputs
from .example import open_example
from .games.atari import PACKAGE, open_atari
from .games.breakout import open_breakout
from .games.catch import open_catch
from .games.rollouts import open_pendulum
from .images.diffusion import open_diffusion
from .images.digits import open_digits
from .images.photographs import open_photographs
from .records.citations import open_citations
from .records.clicks import open_clicks
from .speech.utterances import open_utterances
from .synthetic import open_synthetic
from .text.stories import open_stories
from .text.tokens import open_tokens
from .text.translations import open_translations

__all__ = [
    "DISTINCT_BATCHES",
    "ENTRY_POINT_GROUP",
    "EXAMPLE",
    "SOURCES",
    "SYNTHETIC",
    "batches",
    "batches_for",
    "batches_for_graph",
    "named_source",
    "source_for_graph",
    "usual_source",
    "workload_of",
]

ENTRY_POINT_GROUP = "fathom_onnx.sources"
"""Another package adds a data source by an entry point of this group that names a :class:`Source`."""

DISTINCT_BATCHES = 4
"""Batches that a measurement draws and takes in turn: no step sees only one, and they fit in memory."""

SYNTHETIC = "synthetic"
"""The source that draws every input at random."""

_HELD_OUT_SEED = 2**31

EXAMPLE = "example"
"""The source that gives the example batch of a recipe."""

_ROWS = (
    Source(
        "digits",
        "real",
        "1797 handwritten digits (UCI optdigits, bundled with scikit-learn), 8x8 enlarged to MNIST's field and margin",
        open_digits,
    ),
    Source(
        "photographs",
        "real",
        "random crops of two photographs (bundled with scikit-learn); the class is the photograph, so 2 classes occur",
        open_photographs,
    ),
    Source(
        "diffusion",
        "real",
        "random crops of two photographs (bundled with scikit-learn), each with a random step of a diffusion process",
        open_diffusion,
    ),
    Source(
        "stories",
        "simulated",
        "stories and questions in the manner of bAbI tasks 1 to 3, told by a simulated world; made to fit the memory",
        open_stories,
    ),
    *(
        Source(
            f"stories-{task}",
            "simulated",
            f"as stories, of task {task} alone: {needed} of the sentences are needed for an answer",
            partial(open_stories, tasks=(task,)),
        )
        for task, needed in ((1, "one"), (2, "two"), (3, "three"))
    ),
    Source(
        "atari",
        "real",
        "Breakout itself, run by the Arcade Learning Environment (ale-py, if installed) and played at random",
        open_atari,
        needs=PACKAGE,
        stand_in="breakout",
    ),
    Source(
        "breakout",
        "simulated",
        "a simulation of Breakout written here, of the console's screen and sizes, played at random",
        open_breakout,
    ),
    Source(
        "catch",
        "simulated",
        "a game of catching a falling ball, whose best player scores 1 in every game; simulated here, played at random",
        open_catch,
    ),
    Source(
        "pendulum",
        "simulated",
        "segments of a pendulum that a seed's starting policy tries to swing up, simulated and played here in NumPy",
        open_pendulum,
    ),
    Source(
        "utterances",
        "simulated",
        "random syllables of TIMIT's 61 phonemes from a formant synthesiser, with their labels; nothing is recorded",
        open_utterances,
    ),
    Source(
        "translations",
        "synthetic",
        "sentences of two made-up languages with Zipf's word frequencies, a fixed dictionary and another word order",
        open_translations,
    ),
    Source(
        "citations",
        "synthetic",
        "a citation graph grown by preferential attachment within planted fields; papers have words of their fields",
        open_citations,
    ),
    Source(
        "clicks",
        "synthetic",
        "logs of impressions: counts, categories of power-law frequencies, and clicks by planted interactions of them",
        open_clicks,
    ),
    Source(
        "tokens",
        "synthetic",
        "endless text of a made-up language: word classes of a Markov chain, Zipf's frequencies, habitual followers",
        open_tokens,
    ),
    Source(
        EXAMPLE,
        "real",
        "the example batch that the model's own recipe has, the same in every step",
        open_example,
    ),
    Source(
        SYNTHETIC,
        "synthetic",
        "values drawn from each input's distribution, in a graph of another origin by how it uses them; no meaning",
        open_synthetic,
    ),
)

SOURCES: dict[str, Source] = {row.name: row for row in _ROWS}
"""The sources of this package, by name. Another data set needs one more row, or :data:`ENTRY_POINT_GROUP`."""


def _known() -> list[str]:
    """The names of all sources, those of other packages last."""
    return list(dict.fromkeys([*SOURCES, *part_names(ENTRY_POINT_GROUP)]))


def usual_source(name: str) -> Source:
    """The source of this name or, where the package that it needs is not installed, its stand-in.

    Raises:
        UnknownNameError: No such source.
        MissingDependencyError: Another package's entry point does not give one.
    """
    own = SOURCES.get(name)  # first: to look for those of other packages takes longer than a short step
    if own is None and name not in (known := _known()):
        raise UnknownNameError("data source", name, known)
    source = own or replace(named_part(ENTRY_POINT_GROUP, name, "data source", Source), name=name)
    return source if not source.stand_in or find_spec(source.needs) else usual_source(source.stand_in)


def named_source(name: str) -> Source:
    """The source that a user names: one of the table, as :func:`usual_source`, or ``READER:PATH``, a corpus on disk.

    Raises:
        UnknownNameError: No such source or reader.
        UsageError: A reader without a path.
        MissingDependencyError: Another package's entry point does not give one.
    """
    if ":" in name:
        return corpus_source(name)
    known = _known()
    if name not in known:
        raise UnknownNameError("data source", name, [*known, *(f"{reader}:PATH" for reader in readers())])
    return usual_source(name)


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
