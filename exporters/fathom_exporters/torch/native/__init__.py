"""PyTorch itself: a workload's step run and profiled without ONNX."""

from .profiler import TorchNative

__all__ = ["TorchNative"]
