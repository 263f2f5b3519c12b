"""The TensorFlow exporter: from a workload to a standard graph, and the framework's own step to compare it with."""

from __future__ import annotations

from typing import Literal

import onnx
import tensorflow as tf

from fathom_exporters.lowering import finish
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Mode, Workload

from . import models
from .capture import capture
from .reference import TensorFlowReference
from .translate import translate

__all__ = ["TensorFlowExporter"]


class TensorFlowExporter:
    """Exports workloads authored in TensorFlow."""

    framework = "tensorflow"

    def version(self) -> str:
        """TensorFlow's version."""
        return str(tf.__version__)

    def workloads(self) -> tuple[str, ...]:
        """The workloads it has a model for."""
        return models.names()

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a workload and mode.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        captured = capture(request.workload, models.model(request.workload.name), request.mode, request.noise)
        return finish(translate(captured), request, self.framework, self.version())

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> TensorFlowReference:
        """TensorFlow's own step in single or double precision."""
        return TensorFlowReference(workload, models.model(workload.name), mode, dtype)
