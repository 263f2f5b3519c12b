"""Every activation of ``keras.activations`` and every loss of ``keras.losses``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers as L
from keras import losses

from ..making import CLASSES, Parts, chain, normal, sparse, whole

__all__ = ["ACTIVATIONS", "LOSSES"]

_NO_FUNCTIONS = ("get", "serialize", "deserialize", "categorical_generalized_cross_entropy")
"""The last has a number to be given."""


def _activated(function: Any) -> Parts:
    x = L.Input((6,))
    model = keras.Model(x, L.Dense(CLASSES)(L.Lambda(function)(L.Dense(16)(x))))
    return model, 2 * normal(4, 6), whole(CLASSES, 4), sparse()


def _names(module: Any) -> list[str]:
    return [n for n in dir(module) if not n.startswith("_") and callable(getattr(module, n)) and n not in _NO_FUNCTIONS]


ACTIVATIONS: dict[str, Callable[[], Parts]] = {
    name: lambda name=name: _activated(getattr(keras.activations, name)) for name in _names(keras.activations)
} | {
    "gelu approximate": lambda: _activated(lambda x: keras.activations.gelu(x, approximate=True)),
    "relu with bounds": lambda: _activated(lambda x: keras.activations.relu(x, 0.1, 2.0, 0.2)),
    "softmax axis=0": lambda: _activated(lambda x: keras.activations.softmax(x, axis=0)),
}
"""Name to a model with it."""

_POSITIVE = ("KLDivergence", "Poisson", "MeanSquaredLogarithmicError", "MeanAbsolutePercentageError")


def _judged(loss: Any, name: str, weighted: bool = False) -> tuple[Any, ...]:
    """A model whose outputs and targets are what the loss is for."""
    last, targets = None, normal(4, CLASSES)
    if name.startswith(("Binary", "Dice", "Tversky")):
        last, targets = "sigmoid", tf.cast(whole(2, 4, CLASSES), "float32")
    elif name.startswith(("Categorical", "KL")) and "Generalized" not in name:
        last, targets = "softmax", tf.one_hot(whole(CLASSES, 4), CLASSES)
    elif name.startswith(("Sparse", "CategoricalGeneralized")):
        last, targets = "softmax", whole(CLASSES, 4)
    elif name.startswith(("Hinge", "SquaredHinge")):
        targets = tf.sign(normal(4, CLASSES))
    elif name.startswith(_POSITIVE):
        last, targets = "softplus", tf.abs(normal(4, CLASSES)) + 0.1
    elif name.startswith("Circle"):
        targets = tf.constant([0, 1, 0, 1])
    elif name.startswith("CTC"):
        model = chain((12, 3), L.Dense(8, "tanh"), L.Dense(CLASSES))
        return model, normal(2, 12, 3), tf.constant([[1, 2, 2], [3, 4, 0]]), loss
    if "from_logits" in name:
        last = None
    model = chain((6,), L.Dense(8, "tanh"), L.Dense(CLASSES, last))
    if weighted:
        return model, normal(4, 6), targets, loss, None, tf.constant([0.5, 0.0, 2.0, 1.0])
    return model, normal(4, 6), targets, loss


def _losses() -> Iterator[tuple[str, Callable[[], Any]]]:
    for name in _names(losses):
        kind = getattr(losses, name)
        if not isinstance(kind, type) or name == "Loss":
            continue
        yield name, lambda kind=kind, name=name: _judged(kind(), name)
        if name in ("CTC",):
            continue
        yield f"{name} weighted", lambda kind=kind, name=name: _judged(kind(), name, True)
    crossentropies = ("Binary", "BinaryFocal", "Categorical", "CategoricalFocal", "SparseCategorical")
    for name in (f"{kind}Crossentropy" for kind in crossentropies):
        kind = getattr(losses, name)
        yield f"{name} from_logits", lambda kind=kind, n=name: _judged(kind(from_logits=True), f"{n} from_logits")
    for name in ("BinaryCrossentropy", "CategoricalCrossentropy"):
        kind = getattr(losses, name)
        yield f"{name} label_smoothing", lambda kind=kind, n=name: _judged(kind(label_smoothing=0.1), n)
    for reduction in ("sum", "mean", "mean_with_sample_weight", "none"):
        yield (
            f"MeanSquaredError reduction={reduction}",
            lambda reduction=reduction: _judged(losses.MeanSquaredError(reduction=reduction), "", True),
        )
    yield (
        "SparseCategoricalCrossentropy ignore_class",
        lambda: _judged(losses.SparseCategoricalCrossentropy(ignore_class=0), "Sparse"),
    )
    for name in _names(losses):
        function = getattr(losses, name)
        if not isinstance(function, type):
            kind = "".join(part.title() for part in name.split("_")).replace("Kl", "KL").replace("Ctc", "CTC")
            yield name, lambda function=function, kind=kind: _judged(function, kind)
    for name in ("mse", "mae", "mape", "msle", "bce", "kld"):
        kind = {"bce": "Binary", "kld": "KL", "mape": "Poisson", "msle": "Poisson"}.get(name, "")
        yield f"'{name}'", lambda name=name, kind=kind: _judged(name, kind)


LOSSES: dict[str, Callable[[], Any]] = dict(_losses())
"""Name to a model with it."""
