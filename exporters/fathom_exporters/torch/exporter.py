"""The PyTorch exporter: from a workload to a standard graph, and PyTorch's own step to compare it with."""

from __future__ import annotations

from typing import Literal

import onnx

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.lowering import finish
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Mode, Workload

from .capture import capture
from .models import TORCH
from .reference import TorchReference
from .translate import translate

__all__ = ["TorchExporter"]


class TorchExporter(FrameworkPart):
    """Exports workloads from PyTorch; an implementation of :class:`fathom_onnx.exporting.Exporter`."""

    def __init__(self) -> None:
        super().__init__(TORCH)

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request.

        Raises:
            ExportError: The model cannot be turned into a standard graph.
        """
        made = capture(request)
        return finish(translate(made), request, self.framework, self.version(), made.gradients)

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> TorchReference:
        """PyTorch's own eager step in single or double precision."""
        return TorchReference(workload, mode, dtype)
