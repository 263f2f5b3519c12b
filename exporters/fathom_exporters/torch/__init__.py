"""The PyTorch exporter: record a step with ``make_fx``, translate it with ``torch.onnx``, lower it.

In comes an export request for a workload with a model in :mod:`fathom_exporters.torch.models`; out goes a finished
graph, or the framework's own step to compare it with. Importing this package needs PyTorch.
"""

from .exporter import TorchExporter

__all__ = ["TorchExporter"]
