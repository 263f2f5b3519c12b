"""The TensorFlow exporter: from a workload to a standard graph, and TensorFlow's own step to compare it with."""

from __future__ import annotations

from typing import Literal

import onnx

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.lowering import finish
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Mode, Workload

from .capture import capture
from .models import TENSORFLOW
from .reference import TensorFlowReference
from .translate import translate

__all__ = ["TensorFlowExporter"]


class TensorFlowExporter(FrameworkPart):
    """Exports workloads from TensorFlow; an implementation of :class:`fathom_onnx.exporting.Exporter`."""

    def __init__(self) -> None:
        super().__init__(TENSORFLOW)

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        captured = capture(request.workload, TENSORFLOW.model(request.workload.name), request.mode, request.noise)
        return finish(translate(captured), request, self.framework, self.version())

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> TensorFlowReference:
        """TensorFlow's own step in single or double precision."""
        return TensorFlowReference(workload, TENSORFLOW.model(workload.name), mode, dtype)
