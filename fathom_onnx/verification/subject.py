"""The subject of a verification: a framework's graph of a workload as a function, and the framework's own step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import OPSET, ExportRequest, Purpose, Reference, StepResult, find_exporter
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .double import DoubleGraph
from .kernel_errors import tensors_needed
from .reading import Reading, read

__all__ = ["Subject", "make_subject"]


@dataclass(frozen=True)
class Subject:
    """A workload and mode with one framework's graph, noise as input.

    Attributes:
        workload: The workload.
        mode: The mode.
        framework: The framework that made the graph.
        graph: The graph.
        settings: How the graph runs in onnxruntime.
    """

    workload: Workload
    mode: Mode
    framework: str
    graph: Graph
    settings: SessionSettings
    _references: dict[bool, Reference] = field(default_factory=dict)
    _doubles: dict[bool, DoubleGraph] = field(default_factory=dict)

    @cached_property
    def evaluator(self) -> Evaluator:
        """The graph in onnxruntime, in float32; a session is opened when it is first asked for.

        Raises:
            RunError: onnxruntime refuses the graph.
        """
        return Evaluator(self.graph, self.settings)

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

    def double(self, values: Mapping[str, Array], guess: bool = True) -> StepResult:
        """The graph's own step in float64.

        Args:
            values: Every input by name.
            guess: Whether single numbers are taken for what they were before they were rounded to float32.

        Raises:
            RunError: The graph cannot be evaluated in float64.
        """
        return self.step_of(self.read(values, self.tensors, guess))

    def read(self, values: Mapping[str, Array], tensors: Iterable[str], guess: bool = True) -> Reading:
        """Read tensors of the graph in float64.

        Args:
            values: Every input by name.
            tensors: Names of tensors that outputs or gradients depend on.
            guess: As for :meth:`double`.

        Raises:
            RunError: The graph cannot be evaluated in float64.
        """
        return read(self.graph.model, values, tensors, self._double(guess))

    def step_of(self, reading: Reading) -> StepResult:
        """The step that a reading of at least :attr:`tensors` is of."""
        return StepResult(
            outputs={output.name: reading.exact[output.name] for output in self.graph.outputs},
            gradients={parameter: reading.exact[name] for parameter, name in self.gradients.items()},
        )

    @property
    def gradients(self) -> dict[str, str]:
        """Names of the tensors that are gradients, by parameter."""
        return dict(self.graph.metadata.gradients) if self.graph.metadata else {}

    @property
    def tensors(self) -> list[str]:
        """Names of all outputs and gradients."""
        return [*(output.name for output in self.graph.outputs), *self.gradients.values()]

    def _double(self, guess: bool) -> DoubleGraph:
        if guess not in self._doubles:
            needed = tensors_needed(self.graph.model, self.tensors)
            self._doubles[guess] = DoubleGraph(self.graph.model, needed, guess)
        return self._doubles[guess]

    def updated(
        self, values: Mapping[str, Array], gradients: Mapping[str, Array], guess: bool = True
    ) -> dict[str, Array] | None:
        """What the graph's own optimizer makes of given gradients in float64: new parameters and optimizer state.

        Args:
            values: Every input by name.
            gradients: Gradients by parameter; those of the graph itself are not computed.
            guess: As for :meth:`double`.

        Returns:
            Outputs by name; None where some of them depend on the batch by other ways than the gradients.
        """
        names = self.gradients
        statistics = {buffer.next.name for buffer in self.workload.buffers} | {Workload.LOSS}
        wanted = [output.name for output in self.graph.outputs if output.name not in statistics]
        optimizer = self._double(guess).part(wanted, set(names.values()))
        if optimizer.inputs & {spec.name for spec in self.workload.batch_inputs(self.mode)}:
            return None
        return optimizer.run({**values, **{names[name]: gradient for name, gradient in gradients.items()}})


def make_subject(
    workload: Workload,
    framework: str,
    mode: Mode,
    settings: SessionSettings,
    purpose: Purpose,
    graph: Graph | None = None,
    opset: int = OPSET,
) -> Subject:
    """A subject from the given graph, or from one that is exported for a purpose, in an opset.

    Raises:
        ExportError: The graph cannot be made, or the one given is another workload's, mode's or framework's, draws
            its noise itself, or does not say which of its tensors are gradients.
        UsageError: The workload lacks the mode.
    """
    workload.check_mode(mode)
    if graph is None:
        model = find_exporter(framework).export(ExportRequest(workload, mode, "input", purpose, opset))
        graph = from_model(model, workload.name)
    else:
        _check_identity(graph, workload, framework, mode)
    _check_gradients(graph, mode)
    return Subject(workload, mode, framework, graph, settings)


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
    interface = workload.interface(mode, "input")
    needed = {(t.name, tuple(t.shape)) for t in interface.inputs}
    given = {(t.name, tuple(t.shape or ())) for t in graph.inputs}
    missing = {t.name for t in interface.outputs} - {t.name for t in graph.outputs}
    if missing:
        raise ExportError(f"graph '{graph.name}' does not give '{min(missing)}'", "export it again to be judged")
    if given != needed:
        name, _ = min(needed ^ given)
        raise ExportError(
            f"graph '{graph.name}' does not take '{name}' as it must to be judged",
            "export it in the same configuration with --noise input",
        )


def _check_gradients(graph: Graph, mode: Mode) -> None:
    """Refuse a training graph that names no gradients.

    Raises:
        ExportError: It names none.
    """
    if mode == "training" and (graph.metadata is None or not graph.metadata.gradients):
        raise ExportError(
            f"graph '{graph.name}' does not say which of its tensors are gradients", "export it again to be judged"
        )
