"""Native profiles in TensorFlow: a workload's step run and profiled by the framework itself, without ONNX.

In comes a :class:`fathom_onnx.native.NativeRequest`; out goes the time of every operation of each step, with phase,
layer and canonical op.
"""

from .profiler import TensorFlowNative

__all__ = ["TensorFlowNative"]
