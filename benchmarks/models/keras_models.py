"""Keras models and a ``tf.Module``, with Keras' losses, in two lists: developed with, and further ones.

A batch is the pair (inputs, targets). Everything is drawn from a seed, so that a recipe is the same at each call.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is also loaded by its path

import keras
from keras import optimizers as O

from models.keras_parts.first import FIRST
from models.keras_parts.further import FURTHER

__all__ = ["FIRST", "FURTHER", "OPTIMIZERS", "build", "optimizer_of"]

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


def optimizer_of(name: str) -> str:
    """The optimizer whose turn it is at a model."""
    return list(OPTIMIZERS)[[*FIRST, *FURTHER].index(name) % TURNS]


def build(name: str, optimizer: str = "") -> tuple[Any, Any, Any, Any]:
    """Make a recipe: a model, a batch (inputs, targets), a loss and an optimizer, the same at each call."""
    makers = {**FIRST, **FURTHER}
    if name not in makers:
        raise ValueError(f"no model {name}; there are {', '.join(sorted(makers))}")
    keras.utils.set_random_seed(1)  # numpy's too
    model, inputs, targets, loss = makers[name]()
    return model, (inputs, targets), loss, OPTIMIZERS[optimizer or optimizer_of(name)]()
