"""Keras models through tf2onnx; counted by hand and by Keras' own parameter count."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .torch_models import quietly
from .truth import Maker, Truth

__all__ = ["MODELS"]


def _layers() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def _cnn() -> tuple[Any, list[int], int]:
    k = _layers()
    x = k.Input((32, 32, 3), batch_size=2)
    y = k.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    y = k.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
    y = k.layers.SeparableConv2D(24, 3, strides=2, padding="same")(y)
    y = k.layers.GlobalAveragePooling2D()(y)
    y = k.layers.Dense(10, activation="softmax")(y)
    macs = 2 * (32 * 32 * 16 * 27 + 32 * 32 * 16 * 9 + 16 * 16 * 16 * 9 + 16 * 16 * 16 * 24 + 24 * 10)
    return k.Model(x, y), [2, 32, 32, 3], macs


def _dense() -> tuple[Any, list[int], int]:
    k = _layers()
    x = k.Input((20,), batch_size=4)
    y = k.layers.Dense(64, activation="swish")(x)
    y = k.layers.Dense(64, activation="selu")(y)
    return k.Model(x, k.layers.Dense(3)(y)), [4, 20], 4 * (20 * 64 + 64 * 64 + 64 * 3)


def _attention() -> tuple[Any, list[int], int]:
    k = _layers()
    x = k.Input((10, 32), batch_size=2)
    y = k.layers.MultiHeadAttention(4, 8)(x, x)
    y = k.layers.LayerNormalization()(k.layers.Add()([x, y]))
    return k.Model(x, k.layers.Dense(32)(y)), [2, 10, 32], 2 * (4 * 10 * 32 * 32 + 2 * 4 * 10 * 10 * 8 + 10 * 32 * 32)


def _transposed() -> tuple[Any, list[int], int]:
    k = _layers()
    x = k.Input((8, 8, 4), batch_size=1)
    y = k.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(x)
    y = k.layers.UpSampling2D(2)(y)
    return k.Model(x, k.layers.Conv2D(2, 1)(y)), [1, 8, 8, 4], 8 * 8 * 4 * 8 * 9 + 32 * 32 * 8 * 2


def _recurrent(cell: str, gates: int) -> tuple[Any, list[int], int]:
    k = _layers()
    x = k.Input((12, 16), batch_size=2)
    y = getattr(k.layers, cell)(32)(x)
    return k.Model(x, k.layers.Dense(5)(y)), [2, 12, 16], 2 * (12 * gates * 32 * (16 + 32) + 32 * 5)


_CASES: dict[str, Callable[[], tuple[Any, list[int], int]]] = {
    "cnn with depthwise convolutions": _cnn,
    "dense": _dense,
    "multi-head attention": _attention,
    "transposed convolution": _transposed,
    "lstm": lambda: _recurrent("LSTM", 4),
    "gru": lambda: _recurrent("GRU", 3),
}


def _make(name: str, path: Path) -> Truth:
    import numpy as np
    import tensorflow as tf
    import tf2onnx

    built, shape, macs = _CASES[name]()
    rng = np.random.default_rng(0)
    built.set_weights([rng.uniform(-0.1, 0.1, w.shape).astype(w.dtype) for w in built.get_weights()])
    signature = (tf.TensorSpec(shape, tf.float32, name="x"),)
    step = tf.function(lambda x: built(x, training=False), input_signature=signature)
    with quietly():
        tf2onnx.convert.from_function(step, input_signature=signature, opset=17, output_path=str(path))
    more = (4 * 32, "ONNX has two biases a gate, and Keras one") if name == "lstm" else (0, "")
    data = "TensorFlow's loop may end early" if name == "gru" else ""
    return Truth(macs, built.count_params(), "Keras' parameters, MACs by hand", data, more)


MODELS: dict[str, Maker] = {f"{name}, keras and tf2onnx": partial(_make, name) for name in _CASES}
"""Name to what writes the graph."""
