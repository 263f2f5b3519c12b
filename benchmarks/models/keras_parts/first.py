"""The Keras models that the exporter was developed with, and a ``tf.Module``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers as L

from .making import CLASSES, Parts, application, chain, classified, normal, sparse, whole

__all__ = ["FIRST", "graph"]


def _perceptron() -> Parts:
    return classified(4, (8,), L.Dense(16, "relu"))


def _softmax() -> Parts:
    targets = tf.one_hot(whole(CLASSES, 4), CLASSES, dtype=keras.config.floatx())
    model = chain((8,), L.Dense(16, "tanh"), L.Dense(CLASSES, "softmax"))
    return model, normal(4, 8), targets, keras.losses.CategoricalCrossentropy()


def _regularized() -> Parts:
    model = chain((8,), L.Dense(16, "gelu"), L.Dense(3, kernel_regularizer="l2"))
    return model, normal(4, 8), normal(4, 3), keras.losses.MeanSquaredError()


def _activations() -> Parts:
    names = ("elu", "selu", "leaky_relu", "silu")
    return (
        chain((8,), *(L.Dense(8, n) for n in names), L.Dense(3)),
        normal(4, 8),
        normal(4, 3),
        keras.losses.Huber(),
    )


def _binary() -> Parts:
    targets = tf.cast(whole(2, 4, 1), keras.config.floatx())
    model = chain((8,), L.Dense(16, "softplus"), L.Dense(1, "sigmoid"))
    return model, normal(4, 8), targets, keras.losses.BinaryCrossentropy()


def _dropout() -> Parts:
    return classified(4, (8,), L.Dense(16, "relu"), L.Dropout(0.5), L.GaussianNoise(0.1))


def _convolutions() -> Parts:
    return classified(
        4,
        (16, 16, 3),
        L.Conv2D(8, 3, padding="same"),
        L.BatchNormalization(),
        L.ReLU(),
        L.MaxPooling2D(2),
        L.DepthwiseConv2D(3, padding="same"),
        L.SeparableConv2D(8, 3, strides=2, padding="same"),
        L.AveragePooling2D(2),
        L.Flatten(),
    )


def _upwards() -> Parts:
    model = chain(
        (16, 16, 3),
        L.Conv2D(8, 3, strides=2, padding="same"),
        L.GroupNormalization(4),
        L.UpSampling2D(2),
        L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        L.UpSampling2D(2, interpolation="bilinear"),
        L.Conv2D(3, 1),
    )
    return model, normal(2, 16, 16, 3), normal(2, 64, 64, 3), keras.losses.MeanSquaredError()


def _padded() -> Parts:
    return classified(
        4,
        (17, 17, 3),
        L.ZeroPadding2D(1),
        L.Conv2D(8, 3, strides=2, activation="relu6"),
        L.Conv2D(8, 3, dilation_rate=2, groups=2),
        L.LayerNormalization(),
        L.GlobalMaxPooling2D(),
    )


def _waves() -> Parts:
    return classified(
        4,
        (20, 3),
        L.Conv1D(8, 3, padding="causal"),
        L.MaxPooling1D(2),
        L.Conv1D(8, 3),
        L.GlobalAveragePooling1D(),
    )


def _recurrent(layer: Callable[[], Any]) -> Parts:
    return classified(3, (6, 4), layer())


@keras.saving.register_keras_serializable("benchmarks")
class Positions(L.Layer):
    """A learned vector for each place."""

    def build(self, shape: Any) -> None:
        """Make the table."""
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x: Any) -> Any:
        """Add it."""
        return x + self.table


def _transformer() -> Parts:
    x = L.Input((7,), dtype="int32")
    h = Positions()(L.Embedding(20, 16, mask_zero=True)(x))
    a = L.MultiHeadAttention(2, 8)(L.LayerNormalization()(h), L.LayerNormalization()(h), use_causal_mask=True)
    h = L.Add()([h, a])
    m = L.Dense(16)(L.Dense(32, "gelu")(L.LayerNormalization()(h)))
    return keras.Model(x, L.Dense(20)(h + m)), whole(20, 3, 7), whole(20, 3, 7), sparse()


class Hand(tf.Module):
    """Two layers out of plain variables, and a counter."""

    def __init__(self) -> None:
        super().__init__("hand")
        kind = keras.config.floatx()
        self.w1 = tf.Variable(normal(8, 16) / 3, name="w1")
        self.b1 = tf.Variable(tf.zeros(16, kind), name="b1")
        self.w2 = tf.Variable(normal(16, CLASSES) / 3, name="w2")
        self.seen = tf.Variable(0, trainable=False, name="seen")

    def __call__(self, x: Any) -> Any:
        """Logits."""
        self.seen.assign_add(1)
        return tf.nn.relu(x @ self.w1 + self.b1) @ self.w2


def _module() -> Parts:
    return Hand(), normal(4, 8), whole(CLASSES, 4), sparse()


class Messages(keras.Model):
    """Two rounds of messages along edges.

    Args:
        how: The reduction of the messages that arrive: ``sum``, ``mean`` or ``max``.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.reduce = getattr(tf.math, f"unsorted_segment_{how}")
        self.a, self.b = L.Dense(16, "relu"), L.Dense(CLASSES)

    def call(self, inputs: Any) -> Any:
        """Logits of nodes."""
        x, source, target = inputs
        for _ in range(2):
            x = x + self.reduce(tf.gather(self.a(x), source), target, 10)
        return self.b(x)


def graph(how: str) -> Parts:
    """A network over a graph of 10 nodes, 30 edges, each node with one at least that ends there."""
    model, x = Messages(how), (normal(10, 16), whole(10, 30), tf.concat([tf.range(10), whole(10, 20)], 0))
    model(x)
    return model, x, whole(CLASSES, 10), sparse()


FIRST: dict[str, Callable[[], Parts]] = {
    "mlp": _perceptron,
    "mlp-softmax": _softmax,
    "mlp-regularized": _regularized,
    "mlp-activations": _activations,
    "mlp-binary": _binary,
    "mlp-dropout": _dropout,
    "cnn": _convolutions,
    "cnn-up": _upwards,
    "cnn-padded": _padded,
    "conv1d": _waves,
    "lstm": partial(_recurrent, lambda: L.LSTM(8)),
    "lstm-unrolled": partial(_recurrent, lambda: L.LSTM(8, unroll=True)),
    "gru": partial(_recurrent, lambda: L.GRU(8)),
    "lstm-both-ways": partial(_recurrent, lambda: L.Bidirectional(L.LSTM(8))),
    "transformer": _transformer,
    "tf-module": _module,
    "gnn": partial(graph, "sum"),
    "vgg16": partial(application, "VGG16", batch=2),
    "mobilenet-v2": partial(application, "MobileNetV2", batch=8),
    "resnet50": partial(application, "ResNet50"),
    "densenet121": partial(application, "DenseNet121"),
    "efficientnet-b0": partial(application, "EfficientNetB0", batch=8),
}
"""The models that the exporter was developed with."""
