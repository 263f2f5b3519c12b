"""What Keras models are made of here: values that are drawn, chains of layers, applications."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

__all__ = ["CLASSES", "Parts", "application", "chain", "classified", "normal", "sparse", "whole"]

CLASSES = 5

Parts = tuple[Any, Any, Any, Any]
"""Model, inputs, targets, loss."""


def normal(*shape: int) -> Any:
    """Normal values."""
    return tf.constant(np.random.normal(size=shape), keras.config.floatx())


def whole(below: int, *shape: int) -> Any:
    """Whole numbers from 0 to below a limit."""
    return tf.constant(np.random.randint(0, below, shape), tf.int32)


def sparse() -> Any:
    """Cross-entropy of logits with class numbers."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def chain(shape: tuple[int, ...], *layers: Any) -> Any:
    """A sequential model."""
    return keras.Sequential([L.Input(shape), *layers])


def classified(batch: int, shape: tuple[int, ...], *layers: Any) -> Parts:
    """A chain of layers that ends in logits."""
    return chain(shape, *layers, L.Dense(CLASSES)), normal(batch, *shape), whole(CLASSES, batch), sparse()


def application(name: str, size: int = 32, batch: int = 4, **options: Any) -> Parts:
    """A model of keras.applications for small images."""
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None, **options)
    return model, normal(batch, size, size, 3), whole(CLASSES, batch), sparse()
