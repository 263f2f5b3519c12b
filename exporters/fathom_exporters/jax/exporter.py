"""The JAX exporter: from a workload to a standard graph, and JAX's own step to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import onnx

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.lowering import finish
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import ExportRequest, Gap, Reference, StableHlo, one_gap
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .capture import capture
from .models import JAX
from .recipes import RecipeReference, capture_recipe, derive, find_gaps, give_values, step_of
from .reference import JaxReference
from .stablehlo import to_stablehlo
from .step import draw_from, run_step
from .translate import gaps_of, translate

__all__ = ["JaxExporter"]


class JaxExporter(FrameworkPart):
    """Exports workloads from JAX; an implementation of :class:`fathom_onnx.exporting.Exporter`.

    Args:
        marks: Whether the ops that a model marks are the ops of the graph, with the lowering's gradients. Without
            marks a graph has the equations behind them, and the derivatives that JAX itself has made of them.

    Attributes:
        has_marks: That graphs without marks are made: here, and where a request asks for them.
    """

    has_marks = True

    def __init__(self, marks: bool = True) -> None:
        super().__init__(JAX)
        self._marks = marks

    def workload(self, recipe: Recipe, target: str = "") -> RecipeWorkload:
        """The workload that is read off a recipe with a pytree of parameters and a function of them.

        Raises:
            UsageError: The recipe cannot be a step.
            ExportError: Its step cannot be recorded.
        """
        return derive(recipe, target)

    def give_values(self, model: Any, values: Mapping[str, Array]) -> Any:
        """A model with the values of a run of its graph.

        Raises:
            DataError: A variable that is trained has no value, or a value has another shape.
        """
        return give_values(model, values)

    def gaps(self, recipe: Recipe, mode: Mode) -> tuple[Gap, ...]:
        """Every operation of a recipe's step that has no translation."""
        return find_gaps(derive(recipe), mode, self._marks)

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        workload, marks = request.workload, self._marks and request.marks
        captured = (
            capture_recipe(workload, request.mode, request.noise)
            if isinstance(workload, RecipeWorkload)
            else capture(workload, JAX.model(workload.name), request.mode, request.noise)
        )
        try:
            translated, gradients = translate(captured, marks)
        except ExportError as error:
            raise one_gap(gaps_of(captured, marks)) or error from error
        return finish(translated, request, self.framework, self.version(), gradients)

    def stablehlo(self, request: ExportRequest) -> StableHlo:
        """The step of a request as a module of StableHLO, as JAX lowers it; marks are functions of the module.

        Raises:
            ExportError: The step cannot be recorded.
        """
        workload = request.workload
        if isinstance(workload, RecipeWorkload):
            single = workload.described.traced("float32")
            return to_stablehlo(request, lambda values: step_of(workload, request.mode, values, single))
        model = JAX.model(workload.name)
        return to_stablehlo(
            request,
            lambda values: run_step(workload, model, request.mode, values, draw_from(workload, request.mode, values)),
        )

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> Reference:
        """JAX's own step in single or double precision."""
        if isinstance(workload, RecipeWorkload):
            return RecipeReference(workload, mode, dtype)
        return JaxReference(workload, JAX.model(workload.name), mode, dtype)
