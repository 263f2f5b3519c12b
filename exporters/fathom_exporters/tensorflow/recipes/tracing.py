"""The trace of a step: everything that a layer makes is in a name scope of the layer, and an update in its parameter's.

While a step is traced, ``Layer.__call__`` and the optimizer's ``update_step`` open these scopes, recurrent layers are
unrolled, and functions that Keras compiles by XLA (grouped and dilated convolutions) are run as plain operations.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras.src import backend

from fathom_onnx.workloads.contract import Gradients

from .names import native
from .recurrence import UNROLLED, masked_as_in_a_loop

__all__ = ["traced"]


class _Patches(contextlib.ExitStack):
    """Attributes replaced until the stack is closed."""

    def set(self, owner: Any, name: str, value: Any) -> None:
        own, old = name in vars(owner), getattr(owner, name)
        setattr(owner, name, value)
        self.callback(lambda: setattr(owner, name, old) if own else delattr(owner, name))


def _in_scope(call: Callable[..., Any], names: Mapping[int, str]) -> Callable[..., Any]:
    """A class's ``__call__`` that opens the scope of a layer that has a name.

    It has the signature of the class's own: whoever calls it may ask whether it takes ``training``.
    """

    @functools.wraps(call, updated=())
    def scoped(self: Any, *args: Any, **more: Any) -> Any:
        name = names.get(id(self))
        if name is None:
            return call(self, *args, **more)
        with tf.name_scope(f"forward/{name}/"):
            return call(self, *args, **more)

    return scoped


def _normalised(layer: Any, name: str) -> Callable[..., Any]:
    """The ``call`` of a batch normalisation, in a scope that marks its operations as one canonical op."""
    call = layer.call
    signature = inspect.signature(call)

    @functools.wraps(call, updated=())
    def scoped(*args: Any, **more: Any) -> Any:
        training = signature.bind(*args, **more).arguments.get("training")
        mark = "BatchNormTraining" if training and layer.trainable else "BatchNorm"
        with tf.name_scope(f"forward/{name}/{mark}/"):
            return call(*args, **more)

    return scoped


def _divided(divide: Callable[..., Any]) -> Callable[..., Any]:
    """Keras' division, by which rows are divided and nothing else.

    Keras adds the rows in which the divisor is 0 or NaN, whose number depends on values: with them the result is NaN.
    """

    def rows_alone(x: Any, y: Any) -> Any:
        over_tensor = isinstance(y, tf.Tensor | tf.Variable) and y.shape.rank != 0
        if not isinstance(x, tf.IndexedSlices) or not over_tensor:
            return divide(x, y)
        return tf.IndexedSlices(divide(x.values, tf.gather(y, x.indices)), x.indices, x.dense_shape)

    return rows_alone


def _patch_optimizer(patches: _Patches, optimizer: Any, parameters: Mapping[int, str]) -> None:
    update, clip = optimizer.update_step, optimizer._clip_gradients

    def updated(gradient: tf.Tensor, variable: Any, rate: Any) -> Any:
        with tf.name_scope(f"optimizer/{parameters[id(native(variable))]}/"):
            return update(gradient, variable, rate)

    def clipped(gradients: Any) -> Any:
        with tf.name_scope(f"optimizer/step/{Gradients.OP}/"):
            return clip(gradients)

    patches.set(optimizer, "update_step", updated)
    patches.set(optimizer, "_clip_gradients", clipped)


@contextlib.contextmanager
def traced(
    layers: Mapping[str, Any], optimizer: Any = None, parameters: Mapping[int, str] | None = None, inline: bool = True
) -> Iterator[None]:
    """Open scopes while tracing.

    Args:
        layers: Name to layer.
        optimizer: A copy of the optimizer, if the step has an update.
        parameters: Names of what it updates, by identity.
        inline: Whether functions are run as plain operations in place of a call.
    """
    names = {id(layer): name for name, layer in layers.items()}
    modules = {type(m) for m in layers.values() if not isinstance(m, keras.layers.Layer) and callable(m)}
    with _Patches() as patches:
        for owner in [keras.layers.Layer, *modules]:
            patches.set(owner, "__call__", _in_scope(owner.__call__, names))
        for name, layer in layers.items():
            if isinstance(layer, keras.layers.RNN) and not layer.unroll:
                patches.set(layer, "unroll", UNROLLED)
            if isinstance(layer, keras.layers.BatchNormalization):
                patches.set(layer, "call", _normalised(layer, name))
        for name in ("divide", "true_divide"):
            patches.set(backend.numpy, name, _divided(getattr(backend.numpy, name)))
        patches.set(backend, "rnn", masked_as_in_a_loop(backend.rnn))
        if optimizer is not None:
            _patch_optimizer(patches, optimizer, parameters or {})
        patches.callback(tf.config.run_functions_eagerly, tf.config.functions_run_eagerly())
        tf.config.run_functions_eagerly(inline)
        yield
