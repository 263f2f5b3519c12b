"""TensorFlow itself: a workload's step run and profiled without ONNX."""

from .profiler import TensorFlowNative

__all__ = ["TensorFlowNative"]
