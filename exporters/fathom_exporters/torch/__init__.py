"""The PyTorch exporter: record a step with ``make_fx``, translate it with ``torch.onnx``, lower it."""

from __future__ import annotations

from typing import Literal

import onnx
import torch

from fathom_exporters.lowering import finish
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Mode, Workload

from . import models
from .capture import capture
from .reference import TorchReference
from .translate import translate

__all__ = ["TorchExporter"]


class TorchExporter:
    """Exports workloads from PyTorch; an implementation of :class:`fathom_onnx.exporting.Exporter`."""

    framework = "torch"

    def version(self) -> str:
        """PyTorch's version."""
        return str(torch.__version__)

    def workloads(self) -> tuple[str, ...]:
        """The workloads with a PyTorch model."""
        return models.names()

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        """The finished graph of a request."""
        return finish(translate(capture(request)), request, self.framework, self.version())

    def reference(self, workload: Workload, mode: Mode, dtype: Literal["float32", "float64"]) -> TorchReference:
        """PyTorch's own eager step."""
        return TorchReference(workload, mode, dtype)
