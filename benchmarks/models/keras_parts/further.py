"""Keras models that the exporter was not developed with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers as L

from .first import graph
from .making import CLASSES, Parts, application, chain, classified, normal, sparse, whole

__all__ = ["FURTHER"]


def _masked(cell: Any) -> Parts:
    """A sequence whose zeros are padding: the mask reaches the recurrence."""
    x = L.Input((6,), dtype="int32")
    h = cell(8)(L.Embedding(20, 8, mask_zero=True)(x))
    ids = tf.constant([[3, 5, 2, 9, 0, 0], [4, 1, 7, 8, 2, 6], [9, 9, 0, 0, 0, 0]])
    return keras.Model(x, L.Dense(CLASSES)(h)), ids, whole(CLASSES, 3), sparse()


def _films() -> Parts:
    shape = (4, 8, 8, 1)
    return classified(2, shape, L.ConvLSTM2D(4, 3, padding="same"), L.Flatten())


def _attention() -> Parts:
    """Additive attention of one sequence over another, both inputs of the model."""
    q, v = L.Input((4, 8)), L.Input((6, 8))
    h = L.AdditiveAttention()([L.Dense(8)(q), L.Dense(8)(v)])
    model = keras.Model([q, v], L.Dense(CLASSES)(L.GlobalAveragePooling1D()(L.Concatenate()([h, q]))))
    return model, [normal(3, 4, 8), normal(3, 6, 8)], whole(CLASSES, 3), sparse()


def _autoencoder() -> Parts:
    model = chain(
        (16, 16, 1),
        L.Conv2D(4, 3, 2, "same", activation="relu"),
        L.Conv2D(8, 3, 2, "same", activation="relu"),
        L.Conv2DTranspose(4, 3, 2, "same", activation="relu"),
        L.Conv2DTranspose(1, 3, 2, "same", activation="sigmoid"),
    )
    images = tf.cast(whole(2, 2, 16, 16, 1), keras.config.floatx())
    return model, images, images, keras.losses.BinaryCrossentropy()


def _joined(targets: Any, outputs: Any) -> Any:
    """The sum of a loss for each output."""
    return sparse()(targets[0], outputs[0]) + 0.5 * keras.losses.MeanAbsoluteError()(targets[1], outputs[1])


def _several() -> Parts:
    """Two inputs, two outputs, a table of words beside numbers."""
    words, numbers = L.Input((3,), dtype="int32"), L.Input((4,))
    h = L.Concatenate()([L.Flatten()(L.Embedding(20, 4)(words)), L.Normalization(mean=0.5, variance=2.0)(numbers)])
    h = L.Dense(16, "relu")(h)
    model = keras.Model([words, numbers], [L.Dense(CLASSES)(h), L.Dense(1)(h)])
    return model, (whole(20, 6, 3), normal(6, 4)), (whole(CLASSES, 6), normal(6, 1)), _joined


@keras.saving.register_keras_serializable("benchmarks")
class Blur(L.Layer):
    """Noise that multiplies, in training alone, and a running mean that is kept by hand."""

    def __init__(self, rate: float = 0.3, **more: Any) -> None:
        super().__init__(**more)
        self.rate, self.seeds = rate, keras.random.SeedGenerator(3)

    def build(self, shape: Any) -> None:
        """Make the mean."""
        self.mean = self.add_weight(shape=shape[1:], trainable=False, initializer="zeros", name="mean")

    def call(self, x: Any, training: bool = False) -> Any:
        """What the mode says."""
        if not training:
            return x - self.mean
        self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(keras.ops.stop_gradient(x), 0))
        keep = keras.random.uniform(keras.ops.shape(x), seed=self.seeds, dtype=x.dtype) >= self.rate
        return keras.ops.where(keep, x - self.mean, 0) / (1 - self.rate)


def _volumes() -> Parts:
    return classified(
        2, (8, 8, 8, 1), L.Conv3D(4, 3, padding="same"), L.BatchNormalization(), L.MaxPooling3D(2), L.Flatten()
    )


def _residual_words() -> Parts:
    """Stacked recurrences that return sequences, layer norm, spatial dropout of rate 0."""
    return classified(
        3,
        (6, 8),
        L.Bidirectional(L.GRU(8, return_sequences=True)),
        L.LayerNormalization(),
        L.SpatialDropout1D(0.0),
        L.SimpleRNN(8),
    )


def _wide() -> Parts:
    """Products of pairs, unit norms, a maximum over pieces."""
    a, b = L.Input((8,)), L.Input((8,))
    left, right = L.UnitNormalization()(L.Dense(8)(a)), L.UnitNormalization()(L.Dense(8)(b))
    h = L.Concatenate()([L.Dot(1)([left, right]), L.Multiply()([left, right]), L.Maximum()([left, right])])
    return keras.Model([a, b], L.Dense(CLASSES)(h)), (normal(4, 8), normal(4, 8)), whole(CLASSES, 4), sparse()


def _locations() -> Parts:
    """A layer normalisation by root mean squares, cropping, reshaping, permuting, locally repeated."""
    return classified(
        2,
        (12, 12, 3),
        L.Cropping2D(2),
        L.Conv2D(8, 2, strides=2),
        L.PReLU(shared_axes=[1, 2]),
        L.Reshape((16, 8)),
        L.RMSNormalization(),
        L.Permute((2, 1)),
        L.TimeDistributed(L.Dense(4)),
        L.Flatten(),
    )


FURTHER: dict[str, Callable[[], Parts]] = {
    "xception": partial(application, "Xception", 71, 2),
    "inception-v3": partial(application, "InceptionV3", 75, 2),
    "nasnet-mobile": partial(application, "NASNetMobile", 32, 2),
    "convnext-tiny": partial(application, "ConvNeXtTiny", 32, 2),
    "efficientnet-v2-b0": partial(application, "EfficientNetV2B0", 32, 4),
    "mobilenet-v3-small": partial(application, "MobileNetV3Small", 32, 4, dropout_rate=0.0),
    "resnet50-v2": partial(application, "ResNet50V2", 32, 4),
    "gru-masked": partial(_masked, L.GRU),
    "lstm-masked": partial(_masked, L.LSTM),
    "conv-lstm": _films,
    "attention": _attention,
    "gnn-mean": partial(graph, "mean"),
    "gnn-max": partial(graph, "max"),
    "autoencoder": _autoencoder,
    "several-in-several-out": _several,
    "own-dropout": lambda: classified(4, (8,), L.Dense(16, "relu"), Blur()),
    "conv3d": _volumes,
    "stacked-recurrences": _residual_words,
    "wide": _wide,
    "locations": _locations,
}
"""Models that it was not developed with."""
