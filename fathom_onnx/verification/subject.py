"""The subject of a verification: a framework's graph of a workload as a function, and the framework's own step."""

from __future__ import annotations

from dataclasses import dataclass, field

from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import ExportRequest, Purpose, Reference, find_exporter
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["Subject", "make_subject"]


@dataclass(frozen=True)
class Subject:
    """A workload and mode with one framework's graph, noise as input."""

    workload: Workload
    mode: Mode
    framework: str
    graph: Graph
    evaluator: Evaluator
    _references: dict[bool, Reference] = field(default_factory=dict)

    def reference(self, double: bool = True) -> Reference:
        """The framework's own step in float64, or in float32.

        Raises:
            MissingDependencyError: The framework is not installed.
        """
        # made on demand: an existing graph can be compared with another without loading its framework
        if double not in self._references:
            exporter = find_exporter(self.framework)
            self._references[double] = exporter.reference(self.workload, self.mode, "float64" if double else "float32")
        return self._references[double]


def make_subject(
    workload: Workload,
    framework: str,
    mode: Mode,
    settings: SessionSettings,
    purpose: Purpose,
    graph: Graph | None = None,
) -> Subject:
    """A subject from the given graph, or from one that is exported for a purpose.

    Raises:
        ExportError: The graph cannot be made, or the one given is another workload's, mode's or framework's, or draws
            its noise itself.
    """
    if graph is None:
        model = find_exporter(framework).export(ExportRequest(workload, mode, "input", purpose))
        graph = from_model(model, workload.name)
    else:
        _check_identity(graph, workload, framework, mode)
    return Subject(workload, mode, framework, graph, Evaluator(graph, workload.layers, settings))


def _check_identity(graph: Graph, workload: Workload, framework: str, mode: Mode) -> None:
    """Refuse a graph of another workload, framework, mode or interface.

    Raises:
        ExportError: It is not.
    """
    metadata = graph.metadata
    identity = (metadata.workload, metadata.framework, metadata.mode) if metadata else ("", "", "")
    if identity != (workload.name, framework, mode):
        raise ExportError(
            f"graph '{graph.name}' is not of {workload.name} {mode} from {framework}",
            "give the graph that is to be judged, or none",
        )
    needed = {(t.name, tuple(t.shape)) for t in workload.interface(mode, "input").inputs}
    given = {(t.name, tuple(t.shape or ())) for t in graph.inputs}
    if given != needed:
        name, _ = min(needed ^ given)
        raise ExportError(
            f"graph '{graph.name}' does not take '{name}' as it must to be judged",
            "export it in the same configuration with --noise input",
        )
