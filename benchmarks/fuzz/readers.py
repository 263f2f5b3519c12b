"""Everything that reads a file from elsewhere, as functions of a path."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx

from fathom_onnx.errors import FathomError

from . import corpora

__all__ = ["READERS", "Reader"]

Reader = Callable[[Path], object]


def _graph(path: Path) -> None:
    """What ``inspect``, ``compat`` and every converter do with it; each is asked though another refused."""
    from fathom_onnx.analysis.cost.inspection import inspect
    from fathom_onnx.compat import Facts, judge_all
    from fathom_onnx.convert import CONVERTERS
    from fathom_onnx.graph import load, load_structure

    refusals = []

    def ask(reader: Callable[[], object]) -> object:
        try:
            return reader()
        except FathomError as error:
            refusals.append(error)
            return None

    structure = ask(lambda: load_structure(path))
    if structure is not None:
        ask(lambda: inspect(structure))  # type: ignore[arg-type]
    graph = ask(lambda: load(path))
    if graph is not None:
        ask(lambda: judge_all(Facts(graph, onnx.load(path, load_external_data=False))))  # type: ignore[arg-type]
        for converter in CONVERTERS.values():
            ask(lambda converter=converter: converter.convert(graph, converter.request("g", {})))  # type: ignore[misc]
    if refusals:
        raise refusals[0]


def _trace(path: Path) -> None:
    from fathom_onnx.trace_profiling import profile_from_trace
    from support.graphs.small_models import cnn

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "cnn.onnx"
        model.write_bytes(cnn().model.SerializeToString())
        profile_from_trace(model, path)


def _checkpoint(path: Path) -> None:
    from fathom_onnx.runtime.value_files import ValueFile
    from fathom_onnx.training import read_checkpoint
    from support.graphs.small_models import line_inference

    graph = line_inference()
    assert graph.metadata is not None
    try:
        read_checkpoint(path)
    finally:
        file = ValueFile(path, graph.metadata.variables)
        for variable in graph.metadata.variables:
            file.read(variable)


def _losses(path: Path) -> None:
    from fathom_onnx.training.record import LOSSES, METRICS, Record

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / LOSSES).write_bytes(path.read_bytes())
        (Path(folder) / METRICS).write_text("step,metric,value\n")
        Record.read(Path(folder), 3)


READERS: dict[str, tuple[str, Reader]] = {
    "graph": (".onnx", _graph),
    "trace": (".json", _trace),
    "checkpoint": (".safetensors", _checkpoint),
    "losses": (".csv", _losses),
    **corpora.READERS,
}
"""Kind of file to its suffix, and what reads it."""
