"""The TensorFlow exporter: trace a step as a graph, fold it, translate it by tf2onnx and own handlers, lower it.

In comes an export request for a workload with a model in :mod:`fathom_exporters.tensorflow.models`; out goes a finished
graph, or the framework's own step to compare it with. Importing this package needs TensorFlow and tf2onnx.
"""

from __future__ import annotations

import logging
import os

# Read when TensorFlow's library is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from .quiet import silent_errors

# Before its library reads that it writes to the file descriptor itself (on some processors, that oneDNN is used).
with silent_errors():
    import tensorflow as tf
    import tf2onnx

for _logger in ("tensorflow", tf2onnx.__name__, "absl"):
    logging.getLogger(_logger).setLevel(logging.CRITICAL)
# For this framework only: CUDA_VISIBLE_DEVICES would hide the device from onnxruntime in the same process too.
tf.config.set_visible_devices([], "GPU")

from .exporter import TensorFlowExporter  # noqa: E402  (the settings above come first)

__all__ = ["TensorFlowExporter"]
