"""Keras models and a ``tf.Module``, with Keras' losses, in two lists: developed with, and further ones.

A batch is the pair (inputs, targets). Everything is drawn from a seed, so that a recipe is the same at each call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L
from keras import optimizers as O

__all__ = ["FIRST", "FURTHER", "OPTIMIZERS", "build"]

CLASSES = 5

Parts = tuple[Any, Any, Any, Any]
"""Model, inputs, targets, loss."""

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: O.SGD(0.01),
    "momentum": lambda: O.SGD(0.01, momentum=0.9),
    "nesterov": lambda: O.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: O.Adam(0.001),
    "amsgrad": lambda: O.Adam(0.001, amsgrad=True),
    "adamw": lambda: O.AdamW(0.001),
    "rmsprop": lambda: O.RMSprop(0.001, momentum=0.5, centered=True),
    "adagrad": lambda: O.Adagrad(0.01),
    "nadam": lambda: O.Nadam(0.001),
    "lion": lambda: O.Lion(0.001),
    "adadelta": lambda: O.Adadelta(1.0),
    "adamax": lambda: O.Adamax(0.001),
    "ftrl": lambda: O.Ftrl(0.01),
    "adafactor": lambda: O.Adafactor(0.001),
    "lamb": lambda: O.Lamb(0.001),
    "muon": lambda: O.Muon(0.001),
    "clipped": lambda: O.Adam(0.001, global_clipnorm=1.0, use_ema=True),
    "schedule": lambda: O.SGD(O.schedules.ExponentialDecay(0.1, 10, 0.9)),
    "accumulate": lambda: O.SGD(0.01, gradient_accumulation_steps=2),
    "warmup": lambda: O.Adam(O.schedules.CosineDecay(0.01, 100, warmup_target=0.1, warmup_steps=5)),
}
"""Name to an optimizer; the models take the first 14 in turn, the rest is tried on one of them."""

TURNS = 14


def _normal(*shape: int) -> Any:
    return tf.constant(np.random.normal(size=shape), keras.config.floatx())


def _whole(below: int, *shape: int) -> Any:
    return tf.constant(np.random.randint(0, below, shape), tf.int32)


def _sparse() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _chain(shape: tuple[int, ...], *layers: Any) -> Any:
    return keras.Sequential([L.Input(shape), *layers])


def _classified(batch: int, shape: tuple[int, ...], *layers: Any) -> Parts:
    """A chain of layers that ends in logits."""
    return _chain(shape, *layers, L.Dense(CLASSES)), _normal(batch, *shape), _whole(CLASSES, batch), _sparse()


def _perceptron() -> Parts:
    return _classified(4, (8,), L.Dense(16, "relu"))


def _softmax() -> Parts:
    targets = tf.one_hot(_whole(CLASSES, 4), CLASSES, dtype=keras.config.floatx())
    model = _chain((8,), L.Dense(16, "tanh"), L.Dense(CLASSES, "softmax"))
    return model, _normal(4, 8), targets, keras.losses.CategoricalCrossentropy()


def _regularized() -> Parts:
    model = _chain((8,), L.Dense(16, "gelu"), L.Dense(3, kernel_regularizer="l2"))
    return model, _normal(4, 8), _normal(4, 3), keras.losses.MeanSquaredError()


def _activations() -> Parts:
    names = ("elu", "selu", "leaky_relu", "silu")
    return (
        _chain((8,), *(L.Dense(8, n) for n in names), L.Dense(3)),
        _normal(4, 8),
        _normal(4, 3),
        keras.losses.Huber(),
    )


def _binary() -> Parts:
    targets = tf.cast(_whole(2, 4, 1), keras.config.floatx())
    model = _chain((8,), L.Dense(16, "softplus"), L.Dense(1, "sigmoid"))
    return model, _normal(4, 8), targets, keras.losses.BinaryCrossentropy()


def _dropout() -> Parts:
    return _classified(4, (8,), L.Dense(16, "relu"), L.Dropout(0.5), L.GaussianNoise(0.1))


def _convolutions() -> Parts:
    return _classified(
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
    model = _chain(
        (16, 16, 3),
        L.Conv2D(8, 3, strides=2, padding="same"),
        L.GroupNormalization(4),
        L.UpSampling2D(2),
        L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        L.UpSampling2D(2, interpolation="bilinear"),
        L.Conv2D(3, 1),
    )
    return model, _normal(2, 16, 16, 3), _normal(2, 64, 64, 3), keras.losses.MeanSquaredError()


def _padded() -> Parts:
    return _classified(
        4,
        (17, 17, 3),
        L.ZeroPadding2D(1),
        L.Conv2D(8, 3, strides=2, activation="relu6"),
        L.Conv2D(8, 3, dilation_rate=2, groups=2),
        L.LayerNormalization(),
        L.GlobalMaxPooling2D(),
    )


def _waves() -> Parts:
    return _classified(
        4,
        (20, 3),
        L.Conv1D(8, 3, padding="causal"),
        L.MaxPooling1D(2),
        L.Conv1D(8, 3),
        L.GlobalAveragePooling1D(),
    )


def _recurrent(layer: Callable[[], Any]) -> Parts:
    return _classified(3, (6, 4), layer())


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
    return keras.Model(x, L.Dense(20)(h + m)), _whole(20, 3, 7), _whole(20, 3, 7), _sparse()


class Hand(tf.Module):
    """Two layers out of plain variables, and a counter."""

    def __init__(self) -> None:
        super().__init__("hand")
        kind = keras.config.floatx()
        self.w1 = tf.Variable(_normal(8, 16) / 3, name="w1")
        self.b1 = tf.Variable(tf.zeros(16, kind), name="b1")
        self.w2 = tf.Variable(_normal(16, CLASSES) / 3, name="w2")
        self.seen = tf.Variable(0, trainable=False, name="seen")

    def __call__(self, x: Any) -> Any:
        """Logits."""
        self.seen.assign_add(1)
        return tf.nn.relu(x @ self.w1 + self.b1) @ self.w2


def _module() -> Parts:
    return Hand(), _normal(4, 8), _whole(CLASSES, 4), _sparse()


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


def _graph(how: str) -> Parts:
    model, x = Messages(how), (_normal(10, 16), _whole(10, 30), tf.concat([tf.range(10), _whole(10, 20)], 0))
    model(x)
    return model, x, _whole(CLASSES, 10), _sparse()


def _application(name: str, size: int = 32, batch: int = 4, **options: Any) -> Parts:
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None, **options)
    return model, _normal(batch, size, size, 3), _whole(CLASSES, batch), _sparse()


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
    "gnn": partial(_graph, "sum"),
    "vgg16": partial(_application, "VGG16", batch=2),
    "mobilenet-v2": partial(_application, "MobileNetV2", batch=8),
    "resnet50": partial(_application, "ResNet50"),
    "densenet121": partial(_application, "DenseNet121"),
    "efficientnet-b0": partial(_application, "EfficientNetB0", batch=8),
}
"""The models that the exporter was developed with."""


def _masked(cell: Any) -> Parts:
    """A sequence whose zeros are padding: the mask reaches the recurrence."""
    x = L.Input((6,), dtype="int32")
    h = cell(8)(L.Embedding(20, 8, mask_zero=True)(x))
    ids = tf.constant([[3, 5, 2, 9, 0, 0], [4, 1, 7, 8, 2, 6], [9, 9, 0, 0, 0, 0]])
    return keras.Model(x, L.Dense(CLASSES)(h)), ids, _whole(CLASSES, 3), _sparse()


def _films() -> Parts:
    shape = (4, 8, 8, 1)
    return _classified(2, shape, L.ConvLSTM2D(4, 3, padding="same"), L.Flatten())


def _attention() -> Parts:
    """Additive attention of one sequence over another, both inputs of the model."""
    q, v = L.Input((4, 8)), L.Input((6, 8))
    h = L.AdditiveAttention()([L.Dense(8)(q), L.Dense(8)(v)])
    model = keras.Model([q, v], L.Dense(CLASSES)(L.GlobalAveragePooling1D()(L.Concatenate()([h, q]))))
    return model, [_normal(3, 4, 8), _normal(3, 6, 8)], _whole(CLASSES, 3), _sparse()


def _autoencoder() -> Parts:
    model = _chain(
        (16, 16, 1),
        L.Conv2D(4, 3, 2, "same", activation="relu"),
        L.Conv2D(8, 3, 2, "same", activation="relu"),
        L.Conv2DTranspose(4, 3, 2, "same", activation="relu"),
        L.Conv2DTranspose(1, 3, 2, "same", activation="sigmoid"),
    )
    images = tf.cast(_whole(2, 2, 16, 16, 1), keras.config.floatx())
    return model, images, images, keras.losses.BinaryCrossentropy()


def _joined(targets: Any, outputs: Any) -> Any:
    """The sum of a loss for each output."""
    return _sparse()(targets[0], outputs[0]) + 0.5 * keras.losses.MeanAbsoluteError()(targets[1], outputs[1])


def _several() -> Parts:
    """Two inputs, two outputs, a table of words beside numbers."""
    words, numbers = L.Input((3,), dtype="int32"), L.Input((4,))
    h = L.Concatenate()([L.Flatten()(L.Embedding(20, 4)(words)), L.Normalization(mean=0.5, variance=2.0)(numbers)])
    h = L.Dense(16, "relu")(h)
    model = keras.Model([words, numbers], [L.Dense(CLASSES)(h), L.Dense(1)(h)])
    return model, (_whole(20, 6, 3), _normal(6, 4)), (_whole(CLASSES, 6), _normal(6, 1)), _joined


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
    return _classified(
        2, (8, 8, 8, 1), L.Conv3D(4, 3, padding="same"), L.BatchNormalization(), L.MaxPooling3D(2), L.Flatten()
    )


def _residual_words() -> Parts:
    """Stacked recurrences that return sequences, layer norm, spatial dropout of rate 0."""
    return _classified(
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
    return keras.Model([a, b], L.Dense(CLASSES)(h)), (_normal(4, 8), _normal(4, 8)), _whole(CLASSES, 4), _sparse()


def _locations() -> Parts:
    """A layer normalisation by root mean squares, cropping, reshaping, permuting, locally repeated."""
    return _classified(
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
    "xception": partial(_application, "Xception", 71, 2),
    "inception-v3": partial(_application, "InceptionV3", 75, 2),
    "nasnet-mobile": partial(_application, "NASNetMobile", 32, 2),
    "convnext-tiny": partial(_application, "ConvNeXtTiny", 32, 2),
    "efficientnet-v2-b0": partial(_application, "EfficientNetV2B0", 32, 4),
    "mobilenet-v3-small": partial(_application, "MobileNetV3Small", 32, 4, dropout_rate=0.0),
    "resnet50-v2": partial(_application, "ResNet50V2", 32, 4),
    "gru-masked": partial(_masked, L.GRU),
    "lstm-masked": partial(_masked, L.LSTM),
    "conv-lstm": _films,
    "attention": _attention,
    "gnn-mean": partial(_graph, "mean"),
    "gnn-max": partial(_graph, "max"),
    "autoencoder": _autoencoder,
    "several-in-several-out": _several,
    "own-dropout": lambda: _classified(4, (8,), L.Dense(16, "relu"), Blur()),
    "conv3d": _volumes,
    "stacked-recurrences": _residual_words,
    "wide": _wide,
    "locations": _locations,
}
"""Models that it was not developed with."""


def build(name: str, optimizer: str = "", **ignored: Any) -> tuple[Any, Any, Any, Any]:
    """Make a recipe: a model, a batch (inputs, targets), a loss and an optimizer, the same at each call."""
    makers = {**FIRST, **FURTHER}
    if name not in makers:
        raise ValueError(f"no model {name}; there are {', '.join(sorted(makers))}")
    keras.utils.set_random_seed(1)  # numpy's too
    model, inputs, targets, loss = makers[name]()
    turn = list(OPTIMIZERS)[list(makers).index(name) % TURNS]
    return model, (inputs, targets), loss, OPTIMIZERS[optimizer or turn]()
