"""TensorFlow: the models, their training step by TensorFlow's own autodiff, and its translation to ONNX.

Importing this package needs TensorFlow and tf2onnx; without them it raises ImportError.
"""

from __future__ import annotations

import logging
import os

# Read when TensorFlow's library is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from .quiet import silent_errors

# What its library says before it reads that (on some processors, that oneDNN is used) goes to the file descriptor.
with silent_errors():
    import tensorflow as tf
    import tf2onnx

for _logger in ("tensorflow", tf2onnx.__name__, "absl"):
    logging.getLogger(_logger).setLevel(logging.CRITICAL)
# Only for this framework: CUDA_VISIBLE_DEVICES would take the device from onnxruntime in the same process too.
tf.config.set_visible_devices([], "GPU")

from .exporter import TensorFlowExporter  # noqa: E402  (the settings above come first)

__all__ = ["TensorFlowExporter"]
