"""Every optimizer of ``keras.optimizers``, and what each of them takes beside its own numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import layers as L
from keras import optimizers as O

from ..making import CLASSES, chain, normal, sparse, whole

__all__ = ["OPTIMIZERS"]

_S = O.schedules

_NAMES = "SGD Adam AdamW Adamax Nadam Adagrad Adadelta Adafactor Ftrl Lamb Lion Muon RMSprop ScheduleFreeAdamW"
_CLASSES: dict[str, Callable[..., Any]] = {
    **{name: getattr(O, name) for name in _NAMES.split()},
    "SGD momentum": lambda **more: O.SGD(0.01, momentum=0.9, **more),
}

_SETTINGS: dict[str, dict[str, Any]] = {
    "clipnorm": {"clipnorm": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.01},
    "weight_decay": {"weight_decay": 0.01},
    "use_ema": {"use_ema": True, "ema_momentum": 0.9},
    "use_ema overwriting": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 2},
    "loss_scale_factor": {"loss_scale_factor": 128.0},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 2},
}

_OWN: dict[str, Callable[[], Any]] = {
    "SGD nesterov": lambda: O.SGD(0.01, momentum=0.9, nesterov=True),
    "Adam amsgrad": lambda: O.Adam(0.01, amsgrad=True),
    "AdamW amsgrad": lambda: O.AdamW(0.01, amsgrad=True),
    "RMSprop centered momentum": lambda: O.RMSprop(0.01, centered=True, momentum=0.5),
    "Ftrl regularised": lambda: O.Ftrl(
        0.01,
        l1_regularization_strength=0.01,
        l2_regularization_strength=0.01,
        l2_shrinkage_regularization_strength=0.01,
    ),
    "Ftrl power": lambda: O.Ftrl(0.01, learning_rate_power=-0.3),
    "Adafactor relative_step=False": lambda: O.Adafactor(0.01, relative_step=False),
    "Adafactor beta_2_decay": lambda: O.Adafactor(0.01, beta_2_decay=-0.5),
    "Lion with betas": lambda: O.Lion(0.01, 0.8, 0.9),
    "Muon with Adam for embeddings": lambda: O.Muon(0.01, exclude_layers=["dense"]),
    "LossScaleOptimizer": lambda: O.LossScaleOptimizer(O.SGD(0.01)),
    "clipnorm with global weight decay, ema, accumulation": lambda: O.AdamW(
        0.01, clipnorm=0.1, use_ema=True, gradient_accumulation_steps=2, loss_scale_factor=8.0
    ),
    "MultiOptimizer": lambda: O.MultiOptimizer(O.OptimizerMap(O.SGD(0.1, momentum=0.9), {"first/.*": O.Adam(0.01)})),
    "ExponentialDecay": lambda: O.SGD(_S.ExponentialDecay(0.1, 10, 0.9)),
    "ExponentialDecay staircase": lambda: O.SGD(_S.ExponentialDecay(0.1, 10, 0.9, staircase=True)),
    "PiecewiseConstantDecay": lambda: O.SGD(_S.PiecewiseConstantDecay([1, 5], [0.1, 0.01, 0.001])),
    "PolynomialDecay": lambda: O.SGD(_S.PolynomialDecay(0.1, 10, power=2.0)),
    "PolynomialDecay cycle": lambda: O.SGD(_S.PolynomialDecay(0.1, 10, cycle=True)),
    "InverseTimeDecay": lambda: O.SGD(_S.InverseTimeDecay(0.1, 10, 0.5)),
    "CosineDecay": lambda: O.SGD(_S.CosineDecay(0.1, 10)),
    "CosineDecay warmup": lambda: O.Adam(_S.CosineDecay(0.01, 100, warmup_target=0.1, warmup_steps=5)),
    "CosineDecayRestarts": lambda: O.SGD(_S.CosineDecayRestarts(0.1, 10)),
    "learning rate from a function": lambda: O.SGD(lambda: 0.05),
}


class _Rate(_S.LearningRateSchedule if hasattr(_S, "LearningRateSchedule") else object):  # type: ignore[misc]
    """A schedule of the user's own."""

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        return 0.1 * keras.ops.minimum(keras.ops.rsqrt(step + 1), (step + 1) * 100**-1.5)


class _Own(O.SGD):
    """An optimizer of the user's own: signs of the gradients."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * keras.ops.sign(gradient))


_OWN["schedule of one's own"] = lambda: O.Adam(_Rate())
_OWN["optimizer of one's own"] = lambda: _Own(0.01)


def _trained(make: Callable[[], Any], built: bool = False) -> tuple[Any, ...]:
    model = chain((6,), L.Dense(8, "tanh", name="first"), L.Dense(CLASSES))
    optimizer = make()
    if built:
        optimizer.build(model.trainable_variables)
    return model, normal(4, 6), whole(CLASSES, 4), sparse(), optimizer


def _stepped(make: Callable[[], Any]) -> tuple[Any, ...]:
    """After three steps of Keras' own, so that the state is no longer what it starts with."""
    parts = _trained(make)
    model, x, y, loss, optimizer = parts
    model.compile(optimizer, loss)
    for _ in range(3):
        model.train_on_batch(x, y)
    return parts


def _embedded(make: Callable[[], Any]) -> tuple[Any, ...]:
    """A table, whose gradient comes as rows."""
    model = keras.Sequential([L.Input((3,), dtype="int32"), L.Embedding(9, 4), L.Flatten(), L.Dense(CLASSES)])
    return model, whole(9, 4, 3), whole(CLASSES, 4), sparse(), make()


def _all() -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, kind in _CLASSES.items():
        yield name, lambda kind=kind: _trained(kind)
        yield f"{name} after three steps", lambda kind=kind: _stepped(kind)
        yield f"{name} of a table", lambda kind=kind: _embedded(kind)
        for label, options in _SETTINGS.items():
            yield f"{name} {label}", lambda kind=kind, options=options: _trained(lambda: kind(**options))
        yield (
            f"{name} accumulating after three steps",
            lambda kind=kind: _stepped(lambda: kind(gradient_accumulation_steps=2)),
        )
    for name, make in _OWN.items():
        yield name, lambda make=make: _trained(make)
        yield f"{name} after three steps", lambda make=make: _stepped(make)
    yield "MultiOptimizer built", lambda: _trained(_OWN["MultiOptimizer"], built=True)


OPTIMIZERS: dict[str, Callable[[], Any]] = dict(_all())
"""Name, class first, to maker."""
