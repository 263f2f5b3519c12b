"""Exporting a graph: to memory or to a file, with the stored values of a recipe's graph."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from fathom_onnx.errors import ExportError, FathomError, one_line
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.files import write_aside
from fathom_onnx.graph.loading.values import pack_values, values_path
from fathom_onnx.graph.metadata import GraphMetadata
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode

from .contract import DEFAULT_FRAMEWORK, ExportRequest, find_exporter, refuse_no_marks

__all__ = ["Exported", "export_file", "export_graph", "graph_path"]


@dataclass(frozen=True)
class Exported:
    """One written graph file."""

    path: Path
    workload: str
    framework: str
    mode: Mode
    nodes: int
    size_bytes: int
    seconds: float
    values_bytes: int = 0


def graph_path(folder: Path, workload: str, framework: str, mode: Mode) -> Path:
    """Where a graph lies: the default framework's at the top, any other's in a folder of its name."""
    base = folder if framework == DEFAULT_FRAMEWORK else folder / framework
    return base / (f"{workload}-train.onnx" if mode == "training" else f"{workload}.onnx")


def export_graph(framework: str, request: ExportRequest) -> Graph:
    """Export one graph and keep it in memory, with the stored values of a recipe's.

    Raises:
        ExportError: The framework has no model of the workload, or it cannot be exported.
    """
    model, values = _made(framework, request)
    return from_model(model, request.workload.name, values=values)


def export_file(framework: str, request: ExportRequest, path: Path) -> Exported:
    """Export one graph to a file, with a file of values beside it where it has any: all is written or nothing.

    Raises:
        ExportError: The framework has no model of the workload, or it cannot be exported.
        OutputError: A file cannot be written.
    """
    started = time.perf_counter()
    model, values = _made(framework, request)
    beside = values_path(path)
    content = b""
    if values and (metadata := GraphMetadata.read(model)) is not None:
        content, digest = pack_values(path.name, values)
        replace(metadata, values=beside.name, values_sha256=digest).write(model)
    data = model.SerializeToString(deterministic=True)
    if content:
        with write_aside(beside) as values_file, write_aside(path) as file:
            values_file.write(content)
            file.write(data)
    else:
        with write_aside(path) as file:
            file.write(data)
    return Exported(
        path=path,
        workload=request.workload.name,
        framework=framework,
        mode=request.mode,
        nodes=len(model.graph.node),
        size_bytes=len(data),
        seconds=time.perf_counter() - started,
        values_bytes=len(content),
    )


def _made(framework: str, request: ExportRequest) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model of a graph, and of a recipe's the stored values of its variables and its example batch, by name."""
    workload, mode = request.workload, request.mode
    if isinstance(workload, RecipeWorkload):
        workload.recipe.check(mode)
    else:
        workload.check_mode(mode)
    exporter = find_exporter(framework)
    if not request.marks:
        refuse_no_marks(framework)
    if not isinstance(workload, RecipeWorkload) and workload.name not in exporter.workloads():
        raise ExportError(
            f"workload '{workload.name}' has no model in {framework}",
            f"add one by the entry-point group 'fathom_onnx.models.{framework}'",
        )
    try:
        with _no_collection():
            model = exporter.export(request)
    except FathomError:
        raise
    except Exception as error:
        what = f"{workload.name} ({mode})"
        raise ExportError(f"{framework} cannot export {what}: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(workload, RecipeWorkload):
        return model, {}
    _describe(model, workload, request)
    stored = [v.name for v in workload.variables(mode) if v.name in workload.stored]
    batch = [spec.name for spec in workload.batch_inputs(mode) if spec.name in workload.example]
    return model, {n: workload.stored[n] for n in stored} | {n: workload.example[n] for n in batch}


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """While entered, Python does not look for cyclic garbage.

    A step that is recorded and rewritten is a million objects that stay, and are gone through again and again: 12 % of
    the export of seq2seq's training step.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _describe(model: onnx.ModelProto, workload: RecipeWorkload, request: ExportRequest) -> None:
    """Add to the metadata what a graph is to know of its recipe: how a batch is taken apart, how noise is drawn."""
    metadata = GraphMetadata.read(model)
    if metadata is None:
        return
    noise = workload.noise.get(request.mode, ()) if request.noise == "input" else ()
    inputs = [spec.name for spec in workload.batch_inputs("training")]
    # keys of other types are in no file; such a batch is then given by the names of the inputs
    paths = {n: workload.paths[n] for n in inputs if all(type(k) in (str, int) for k in workload.paths.get(n, (None,)))}
    draws = {n.name: n.distribution for n in noise}
    own = workload.specialised
    replace(metadata, target=workload.target, paths=paths, draws=draws, specialised=own).write(model)
