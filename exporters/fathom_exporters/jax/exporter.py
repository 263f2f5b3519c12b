"""The JAX exporter: from a workload to a standard graph, and JAX's own step to compare it with."""

from __future__ import annotations

from typing import Literal

import onnx

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.lowering import finish
from fathom_onnx.exporting import ExportRequest, Reference
from fathom_onnx.workloads.contract import Mode, Workload

from .capture import capture
from .models import JAX
from .reference import JaxReference
from .translate import translate

__all__ = ["JaxExporter"]


class JaxExporter(FrameworkPart):
    """Exports workloads from JAX; an implementation of :class:`fathom_onnx.exporting.Exporter`.

    Args:
        marks: Whether the ops that a model marks are the ops of the graph, with the lowering's gradients. Without
            marks a graph has the equations behind them, and the derivatives that JAX itself has made of them.
    """

    def __init__(self, marks: bool = True) -> None:
        super().__init__(JAX)
        self._marks = marks

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        captured = capture(request.workload, JAX.model(request.workload.name), request.mode, request.noise)
        translated, gradients = translate(captured, self._marks)
        return finish(translated, request, self.framework, self.version(), gradients)

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> Reference:
        """JAX's own step in single or double precision."""
        return JaxReference(workload, JAX.model(workload.name), mode, dtype)
