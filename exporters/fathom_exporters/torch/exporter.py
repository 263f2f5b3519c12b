"""The PyTorch exporter: from a workload to a standard graph, and PyTorch's own step to compare it with."""

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

from .capture import capture
from .models import TORCH
from .recipes import RecipeReference, capture_recipe, derive, find_gaps, gaps_of, give_values, is_of_recording
from .recorded import Capture
from .reference import TorchReference
from .translate import keep_rows, translate

__all__ = ["TorchExporter"]


class TorchExporter(FrameworkPart):
    """Exports workloads from PyTorch; an implementation of :class:`fathom_onnx.exporting.Exporter`."""

    def __init__(self) -> None:
        super().__init__(TORCH)

    def workload(self, recipe: Recipe, target: str = "") -> RecipeWorkload:
        """The workload that is read off a recipe with an ``nn.Module``.

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
        """Every operation of a recipe's step that cannot be recorded or has no translation or canonical op."""
        return find_gaps(recipe, mode)

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        workload = request.workload
        if not isinstance(workload, RecipeWorkload):
            return self._finished(capture(request), request)
        try:
            return self._finished(capture_recipe(workload, request.mode, request.noise), request)
        except ExportError as error:
            if is_of_recording(error):  # there are no operations to look for gaps among
                raise
            raise one_gap(gaps_of(workload, request.mode)) or error from error

    def _finished(self, made: Capture, request: ExportRequest) -> onnx.ModelProto:
        model = translate(made)
        keep_rows(model, request.workload, made.gradients)
        return finish(model, request, self.framework, self.version(), made.gradients)

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> Reference:
        """PyTorch's own eager step in single or double precision."""
        if isinstance(workload, RecipeWorkload):
            return RecipeReference(workload, mode, dtype)
        return TorchReference(workload, mode, dtype)
