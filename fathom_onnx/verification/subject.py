"""The subject of a verification: a framework's graph of a workload as a function, and the framework's own step."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import OPSET, ExportRequest, Purpose, Reference, ReferenceInParts, StepResult, find_exporter
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .double import HELD, DoubleGraph
from .kernel_errors import tensors_needed
from .reading import Reading, read

__all__ = ["Subject", "make_subject"]

_PIECE = 1 << 26
"""Elements of new parameters and optimizer state from which on a piece of them takes no more."""


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
        return Evaluator(self.graph, self.settings, keep_memory=not _is_large(self.workload, self.mode))

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

    def expected(self, values: Mapping[str, Array], double: bool = True) -> StepResult:
        """The framework's own step in float64, or in float32, without what its optimizer makes, which is judged apart.

        Args:
            values: Every input by name.
            double: In float64.

        Raises:
            MissingDependencyError: The framework is not installed.
        """
        reference, made = self.reference(double), set(self.updated_names)
        step = reference.before_update if isinstance(reference, ReferenceInParts) else reference.step
        result = step(values)
        return StepResult({n: value for n, value in result.outputs.items() if n not in made}, result.gradients)

    def double(self, values: Mapping[str, Array], guess: bool = True) -> StepResult:
        """The graph's own step in float64: what is compared of it (:attr:`compared`).

        Args:
            values: Every input by name.
            guess: Whether single numbers are taken for what they were before they were rounded to float32.

        Raises:
            RunError: The graph cannot be evaluated in float64.
        """
        return self.step_of(self.read(values, self.compared, guess))

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
        """The step that a reading of at least :attr:`compared` is of, without the outputs that were not read."""
        names = (output.name for output in self.graph.outputs)
        return StepResult(
            outputs={name: reading.exact[name] for name in names if name in reading.exact},
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

    @cached_property
    def pieces(self) -> Sequence[Sequence[str]]:
        """The outputs that the optimizer makes, in pieces: each parameter with its state, small ones together.

        New parameters and state of a large model are several times as large as all else that is compared. They are
        made and judged a piece at a time.
        """
        if self.mode == "inference":
            return ()
        parameters = {parameter.name for parameter in self.workload.parameters}
        others = {buffer.next.name for buffer in self.workload.buffers} | {Workload.LOSS}
        of_parameter: dict[str, list[str]] = {}
        sizes: dict[str, int] = {}
        for output in self.graph.outputs:
            if output.name not in others:
                owner = _parameter_of(output.name, parameters)
                of_parameter.setdefault(owner, []).append(output.name)
                sizes[owner] = sizes.get(owner, 0) + prod(output.shape or ())
        pieces: list[list[str]] = []
        size = _PIECE
        for owner, names in of_parameter.items():
            if size >= _PIECE:
                pieces.append([])
                size = 0
            pieces[-1] += names
            size += sizes[owner]
        return pieces

    @property
    def updated_names(self) -> list[str]:
        """All outputs that the optimizer makes."""
        return [name for piece in self.pieces for name in piece]

    @cached_property
    def optimizer_is_apart(self) -> bool:
        """Whether what the optimizer makes depends on the batch by nothing but the gradients (training)."""
        if not self.updated_names:
            return False
        optimizer = self._double(guess=True).part(self.updated_names, set(self.gradients.values()))
        return not optimizer.inputs & {spec.name for spec in self.workload.batch_inputs(self.mode)}

    @cached_property
    def compared(self) -> list[str]:
        """Names of the outputs and gradients that are read in one go: all but what an optimizer that is apart makes."""
        apart = set(self.updated_names) if self.optimizer_is_apart else set()
        apart -= set(self.gradients.values())  # an optimizer may keep a gradient as its state
        return [name for name in self.tensors if name not in apart]

    def _double(self, guess: bool) -> DoubleGraph:
        if guess not in self._doubles:
            needed = tensors_needed(self.graph.model, self.tensors)
            self._doubles[guess] = DoubleGraph(self.graph.model, needed, guess)
        return self._doubles[guess]

    def updated(
        self, names: Iterable[str], values: Mapping[str, Array], gradients: Mapping[str, Array], guess: bool = True
    ) -> dict[str, Array]:
        """What the graph's own optimizer makes of given gradients in float64, where it is apart.

        Args:
            names: The outputs that are wanted: a piece of new parameters and optimizer state.
            values: Every input by name.
            gradients: Gradients by parameter; those of the graph itself are not computed.
            guess: As for :meth:`double`.

        Returns:
            Outputs by name.
        """
        given = self.gradients
        optimizer = self._double(guess).part(names, set(given.values()))
        return optimizer.run({**values, **{given[name]: gradient for name, gradient in gradients.items()}})


def _parameter_of(output: str, parameters: Collection[str]) -> str:
    """The parameter whose new value or optimizer state an output is by its name; empty for state of all of them."""
    name = output
    while name and name not in parameters:
        name = name.rpartition(".")[0]
    return name


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
    if _is_large(workload, mode):  # read with TensorFlow's first allocation; its own allocator gives nothing back
        os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    if graph is None:
        model = find_exporter(framework).export(ExportRequest(workload, mode, "input", purpose, opset))
        graph = from_model(model, workload.name)
    else:
        _check_identity(graph, workload, framework, mode)
    _check_gradients(graph, mode)
    return Subject(workload, mode, framework, graph, settings)


def _is_large(workload: Workload, mode: Mode) -> bool:
    """Whether a step takes more numbers than are held in float64: then memory is given back where it can be."""
    return sum(prod(spec.shape) for spec in workload.interface(mode, "input").inputs) > HELD


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
