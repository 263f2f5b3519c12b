"""The exporter interface: what an exporter takes and returns, and how one is found.

An exporter belongs to a framework and is found by the entry-point group ``fathom_onnx.exporters``, so that a third
framework is a new package. This package never imports a framework itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import onnx

from fathom_onnx.errors import ExportError, UsageError
from fathom_onnx.graph.metadata import PURPOSES, Purpose
from fathom_onnx.plugins import framework_part, part_names
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode, NoiseSource, Workload

__all__ = [
    "DEFAULT_FRAMEWORK",
    "ENTRY_POINT_GROUP",
    "FURTHER_FRAMEWORKS",
    "OPSET",
    "OPSETS",
    "PURPOSES",
    "ExportRequest",
    "Exporter",
    "Gap",
    "Purpose",
    "Reference",
    "ReferenceInParts",
    "StepResult",
    "find_exporter",
    "frameworks",
    "one_gap",
    "purpose_for",
    "refuse_no_marks",
    "usual_frameworks",
]

ENTRY_POINT_GROUP = "fathom_onnx.exporters"
"""Entry points by which exporters are registered."""

DEFAULT_FRAMEWORK = "torch"
"""The framework of commands that name none, whose graphs lie at the top of a folder."""

FURTHER_FRAMEWORKS = frozenset({"jax"})
"""Frameworks that are taken where they are named, or all are: they have no model of some workloads."""


OPSET = 18
"""The newest opset that every consumer we know of reads, and the newest that tf2onnx writes: that of graphs that name
none."""

OPSETS = (OPSET, 23)
"""Opsets that graphs are written in. With 23 what it has ops for is written in them: attention, rotary embeddings,
normalisations and activations."""


def purpose_for(ep: str) -> Purpose:
    """The purpose of a graph that is to run on an execution provider."""
    return "cuda" if ep == "cuda" else "onnxruntime"


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        workload: The workload.
        mode: The mode.
        noise: Where random tensors come from.
        purpose: The purpose of the graph.
        opset: Its opset.
        marks: Whether the ops that a model marks are ops of the graph, with the lowering's gradients. Without them it
            has the framework's own derivatives written out, which an exporter must have (:func:`refuse_no_marks`).
    """

    workload: Workload
    mode: Mode
    noise: NoiseSource = "graph"
    purpose: Purpose = "simulators"
    opset: int = OPSET
    marks: bool = True


@dataclass(frozen=True)
class StepResult:
    """One step.

    Attributes:
        outputs: Outputs by interface name.
        gradients: In training, the gradient of each parameter by its name, before any treatment of gradients.
    """

    outputs: dict[str, Array]
    gradients: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Gap:
    """An operation that stands in the way of a graph.

    Attributes:
        operation: Its name in the framework, ``aten.lgamma.default``.
        phase: Where it occurs: forward, loss, backward or optimizer.
        layer: The layer that uses it.
        source: File and line of the user's code that calls it, and the line; empty where unknown.
        lacks: What is missing, in a few words: a translation, a canonical op, a shape that depends on no value.
        rewrite: What to write instead; empty where nothing is known.
        count: How many times the step has it at this place.
    """

    operation: str
    phase: str
    layer: str
    source: str
    lacks: str
    rewrite: str = ""
    count: int = 1


def one_gap(gaps: Sequence[Gap]) -> ExportError | None:
    """The first gap as an error that names the others' number; None where there is none."""
    if not gaps:
        return None
    first = gaps[0]
    more = f" (and {len(gaps) - 1} more; 'fathom-onnx gaps' lists them)" if len(gaps) > 1 else ""
    at = f" at {first.source}" if first.source else ""
    layer = f" in layer '{first.layer}'" if first.layer else ""
    return ExportError(f"{first.operation}{layer}{at} cannot be written in ONNX: {first.lacks}{more}", first.rewrite)


class Reference(Protocol):
    """A workload's step as the framework itself runs it, natively and without a graph of ours."""

    def step(self, values: Mapping[str, Array]) -> StepResult:
        """Run one step.

        Args:
            values: Every input of the interface with ``noise="input"``, by name.
        """

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the framework's own optimizer makes of given gradients: new parameters and optimizer state.

        Args:
            values: As for :meth:`step`.
            gradients: Gradients by parameter name, as in :attr:`StepResult.gradients`.

        Returns:
            The outputs of the interface that the optimizer computes (``<name>.next``).
        """


@runtime_checkable
class ReferenceInParts(Reference, Protocol):
    """A reference whose step can end with its gradients, which of a large model is a fraction of the memory."""

    def before_update(self, values: Mapping[str, Array]) -> StepResult:
        """Run one step up to its optimizer: the outputs that this makes are missing. In inference it is the step.

        Args:
            values: As for :meth:`Reference.step`; the optimizer's state is not read.
        """


class Exporter(Protocol):
    """A framework's way from a workload to a standard graph."""

    framework: str

    def version(self) -> str:
        """The framework's version."""

    def workloads(self) -> tuple[str, ...]:
        """The workloads it has a model for."""

    def workload(self, recipe: Recipe, target: str = "") -> RecipeWorkload:
        """The workload that is read off a recipe with a model of this framework.

        Args:
            recipe: The recipe.
            target: Name of the function that built it, if any.

        Raises:
            ExportError: Its step cannot be recorded, or the optimizer has none of the model's parameters.
        """

    def give_values(self, model: Any, values: Mapping[str, Array]) -> Any:
        """A model of this framework with the values of a run of its graph: the same one, or another where it is fixed.

        Raises:
            DataError: A variable that is trained has no value, or a value has another shape.
        """

    def gaps(self, recipe: Recipe, mode: Mode) -> tuple[Gap, ...]:
        """Every operation of a recipe's step that has no translation or no canonical op, or cannot be recorded."""

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph: standard, static, every node with its address, metadata written.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> Reference:
        """The framework's own step in single or double precision."""


def refuse_no_marks(framework: str) -> None:
    """Refuse graphs without marks of a framework whose exporter has none to leave out.

    Raises:
        UsageError: It has not the attribute ``has_marks``.
        UnknownNameError: No exporter of this name.
        MissingDependencyError: The framework is not installed.
    """
    if not getattr(find_exporter(framework), "has_marks", False):
        raise UsageError(
            f"a graph without marks has JAX's derivatives, and {framework} has no such graph",
            "leave out --no-marks (marks=False), or take --framework jax",
        )


def frameworks() -> tuple[str, ...]:
    """Frameworks with an exporter, the default one first and the further ones last."""

    def order(name: str) -> tuple[bool, bool]:
        return name != DEFAULT_FRAMEWORK, name in FURTHER_FRAMEWORKS

    return tuple(sorted(part_names(ENTRY_POINT_GROUP), key=order))


def usual_frameworks() -> tuple[str, ...]:
    """The frameworks of studies, of checks, and of the graphs in ``graphs/``: all but the further ones."""
    return tuple(name for name in frameworks() if name not in FURTHER_FRAMEWORKS)


def find_exporter(framework: str) -> Exporter:
    """The exporter of a framework.

    Raises:
        UnknownNameError: No exporter of this name.
        MissingDependencyError: The framework is not installed.
    """
    exporter: Exporter = framework_part(ENTRY_POINT_GROUP, framework, "framework")
    return exporter
