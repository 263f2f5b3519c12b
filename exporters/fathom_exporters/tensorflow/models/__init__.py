"""The models in TensorFlow, one file a workload, and those that other packages add by entry point.

A model is a module (or any object) with two functions. ``forward(net, config, batch)`` takes the batch inputs by name
and returns tensors by name, the inference outputs among them; it names every layer as the workload does.
``loss(net, config, outputs, batch)`` computes the scalar loss from them.
"""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.framework import Framework

from .contract import Model
from .suite2016 import SUITE_2016
from .suite2026 import SUITE_2026

__all__ = ["TENSORFLOW", "Model"]


TENSORFLOW: Framework[Model] = Framework(
    "tensorflow",
    "TensorFlow",
    str(tf.__version__),
    {**SUITE_2016, **SUITE_2026},
)
"""TensorFlow and its models: a workload's name to the module with its functions."""
