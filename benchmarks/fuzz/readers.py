"""Everything that reads a file from elsewhere, as functions of a path."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from fathom_onnx.errors import FathomError
from fathom_onnx.workloads.contract import Variable

from . import corpora

__all__ = ["READERS", "Reader"]

Reader = Callable[[Path], object]


def _graph(path: Path) -> None:
    """What ``inspect``, ``compat`` and every converter do with it; each is asked though another refused.

    Raises:
        FathomError: It cannot be loaded. That a converter refuses it is not told.
    """
    from fathom_onnx.analysis.cost.inspection import inspect
    from fathom_onnx.compat import Facts, judge_all
    from fathom_onnx.convert import CONVERTERS
    from fathom_onnx.graph import load, load_structure

    structure = load_structure(path)  # what this refuses, the next does too
    with _refused():
        inspect(structure)
    graph = load(path)
    with _refused():
        judge_all(Facts(graph, onnx.load(path, load_external_data=False)))
    for converter in CONVERTERS.values():
        needed = {option.name: option.example for option in converter.options if option.required}
        with _refused():
            converter.convert(graph, converter.request("g", needed))


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Something that may be refused, in one line."""
    try:
        yield
    except FathomError as error:
        if "\n" in str(error):
            raise


def _trace(path: Path) -> None:
    from fathom_onnx.runtime.traces.foreign import read_foreign
    from fathom_onnx.trace_profiling import profile_from_trace
    from support.graphs.small_models import cnn

    read_foreign(path)  # what this refuses, the whole does too
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "cnn.onnx"
        model.write_bytes(cnn().model.SerializeToString())
        profile_from_trace(model, path)


def _checkpoint(path: Path) -> None:
    from fathom_onnx.runtime.value_files import ValueFile
    from fathom_onnx.training import read_checkpoint

    try:
        read_checkpoint(path)
    finally:
        file = ValueFile(path, _variables())
        for variable in _variables():
            file.read(variable)


@functools.cache
def _variables() -> tuple[Variable, ...]:
    """The variables that checkpoints are read for."""
    from support.graphs.small_models import line_inference

    graph = line_inference()
    assert graph.metadata is not None
    return graph.metadata.variables


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
