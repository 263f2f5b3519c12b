"""The TensorFlow exporter: from a workload to a standard graph, and TensorFlow's own step to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import onnx

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.lowering import finish
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import ExportRequest, Gap, Reference, one_gap
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .capture import Captured, capture
from .models import TENSORFLOW
from .recipes import RecipeReference, capture_recipe, derive, find_gaps, gaps_of, give_values
from .reference import TensorFlowReference
from .translate import translate

__all__ = ["TensorFlowExporter"]


class TensorFlowExporter(FrameworkPart):
    """Exports workloads from TensorFlow; an implementation of :class:`fathom_onnx.exporting.Exporter`."""

    def __init__(self) -> None:
        super().__init__(TENSORFLOW)

    def workload(self, recipe: Recipe, target: str = "") -> RecipeWorkload:
        """The workload that is read off a recipe with a Keras 3 model or a ``tf.Module``.

        Raises:
            UsageError: The recipe cannot be a step.
            ExportError: Its step cannot be traced or recorded.
        """
        return derive(recipe, target)

    def give_values(self, model: Any, values: Mapping[str, Array]) -> Any:
        """A model with the values of a run of its graph.

        Raises:
            DataError: A variable that is trained has no value, or a value has another shape.
        """
        return give_values(model, values)

    def gaps(self, recipe: Recipe, mode: Mode) -> tuple[Gap, ...]:
        """Every operation of a recipe's step that cannot be recorded or has no translation or canonical op."""
        return find_gaps(recipe, mode)

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        workload = request.workload
        if not isinstance(workload, RecipeWorkload):
            captured = capture(workload, TENSORFLOW.model(workload.name), request.mode, request.noise)
            return self._finished(captured, request)
        try:
            return self._finished(capture_recipe(workload, request.mode, request.noise), request)
        except ExportError as error:
            raise one_gap(gaps_of(workload.described, request.mode)) or error from error

    def _finished(self, captured: Captured, request: ExportRequest) -> onnx.ModelProto:
        return finish(translate(captured), request, self.framework, self.version(), captured.gradients)

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> Reference:
        """TensorFlow's own step in single or double precision."""
        if isinstance(workload, RecipeWorkload):
            return RecipeReference(workload, mode, dtype)
        return TensorFlowReference(workload, TENSORFLOW.model(workload.name), mode, dtype)
