"""Marks: functions that a jaxpr keeps a name of, so that a graph has the op and not its parts.

A jaxpr knows primitives only: a softplus is eight of them, and its gradient eight more. A mark is a ``jax.jit`` with
the op's canonical name, ``fathom.Softplus``, and attributes, ``fathom.ClipGrad min=0.0 max=20.0``. Under ``jax.jit`` it
changes nothing. What is behind it is plain JAX, and behind the mark of a gradient JAX's own derivative of that
(``jax.vjp``): a graph that is exported without marks has these written out.

The functions here are what the models are written with wherever a canonical gradient op exists. They compute in the
type of their arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

__all__ = [
    "MARK",
    "batch_norm",
    "batch_norm_training",
    "clip",
    "cross_entropy",
    "local_response_norm",
    "log_softmax",
    "random_normal",
    "random_uniform",
    "read_mark",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]

MARK = "fathom."
"""How the name of a mark begins; the canonical op follows."""


def read_mark(name: str) -> tuple[str, dict[str, float]] | None:
    """The canonical op and the attributes of a ``jit`` by its name; None where it is no mark."""
    if not name.startswith(MARK):
        return None
    op, *attributes = name.removeprefix(MARK).split(" ")
    return op, {key: float(value) for key, _, value in (part.partition("=") for part in attributes)}


def _mark(op: str, function: Callable[..., Any], **attributes: float) -> Callable[..., Any]:
    """``function`` under the name of a canonical op."""

    def marked(*args: Array) -> Any:
        return function(*args)

    marked.__name__ = marked.__qualname__ = " ".join(
        [f"{MARK}{op}", *(f"{key}={value!r}" for key, value in attributes.items())]
    )
    return jax.jit(marked)


def _unary(op: str, function: Callable[[Array], Array], **attributes: float) -> Callable[[Array], Array]:
    """A function of one tensor whose gradient is marked too: ``<op>Grad`` of (dy, x), x the input."""
    forward = _mark(op, function, **attributes)
    backward = _mark(f"{op}Grad", lambda dy, x: jax.vjp(function, x)[1](dy)[0], **attributes)

    def call(x: Array) -> Array:
        made: Array = forward(x)
        return made

    marked = jax.custom_vjp(call)
    marked.defvjp(lambda x: (forward(x), x), lambda x, dy: (backward(dy, x),))
    return marked


relu = _unary("Relu", jax.nn.relu)
"""``max(x, 0)``, with the derivative 0 at 0 (that of ``jnp.maximum(x, 0)`` is a half)."""

sigmoid = _unary("Sigmoid", jax.nn.sigmoid)
"""``1 / (1 + exp(-x))``."""

tanh = _unary("Tanh", jnp.tanh)
"""The hyperbolic tangent."""

softplus = _unary("Softplus", jax.nn.softplus)
"""``log(1 + exp(x))``."""


@functools.cache
def _clip(low: float, high: float) -> Callable[[Array], Array]:
    def between(x: Array) -> Array:
        return jnp.where(x >= high, high, jnp.where(x <= low, low, x))

    return _unary("Clip", between, min=low, max=high)


def clip(x: Array, low: float, high: float) -> Array:
    """``x`` held between two bounds, with the derivative 0 at them (that of ``jnp.clip`` is a half)."""
    return _clip(float(low), float(high))(x)


@functools.cache
def _of_axis(op: str, axis: int) -> Callable[[Array], Array]:
    function = {"Softmax": jax.nn.softmax, "LogSoftmax": jax.nn.log_softmax}[op]
    return _unary(op, functools.partial(function, axis=axis), axis=axis)


def softmax(x: Array, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along an axis."""
    return _of_axis("Softmax", axis % x.ndim)(x)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """The logarithm of the softmax along an axis."""
    return _of_axis("LogSoftmax", axis % x.ndim)(x)


def _entropy(logits: Array, labels: Array) -> Array:
    return -(labels * jax.nn.log_softmax(logits)).sum(-1)


def _entropy_and_gradient(logits: Array, labels: Array) -> tuple[Array, Array]:
    loss, back = jax.vjp(lambda x: _entropy(x, labels), logits)
    return loss, back(jnp.ones_like(loss))[0]


_cross_entropy = _mark("CrossEntropy", _entropy_and_gradient)


@jax.custom_vjp
def cross_entropy(logits: Array, labels: Array) -> Array:
    """Softmax cross-entropy of rows [N, C] with float labels, each row's sum 1: [N]; labels have no gradient."""
    loss: Array = _cross_entropy(logits, labels)[0]
    return loss


cross_entropy.defvjp(_cross_entropy, lambda dlogits, dy: (dy[:, None] * dlogits, jnp.zeros_like(dlogits)))


def _per_channel(statistic: Array, like: Array) -> Array:
    return statistic.reshape(-1, *[1] * (like.ndim - 2))


def _normalise(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, Array, Array, Array]:
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes)
    centred = x - _per_channel(mean, x)
    var = (centred * centred).mean(axes)
    inv_std = 1 / jnp.sqrt(var + epsilon)
    return centred * _per_channel(inv_std * scale, x) + _per_channel(bias, x), mean, var, inv_std


@functools.cache
def _batch_norm_training(epsilon: float) -> Callable[[Array, Array, Array], tuple[Array, Array, Array]]:
    forward = _mark("BatchNormTraining", functools.partial(_normalise, epsilon=epsilon), epsilon=epsilon)

    def derive(dy: Array, x: Array, scale: Array, mean: Array, inv_std: Array) -> Any:
        def y(x: Array, scale: Array, bias: Array) -> Array:
            return _normalise(x, scale, bias, epsilon)[0]

        return jax.vjp(y, x, scale, jnp.zeros_like(scale))[1](dy)

    backward = _mark("BatchNormGrad", derive)

    def call(x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
        y, mean, var, _ = forward(x, scale, bias)
        return y, mean, var

    def keep(x: Array, scale: Array, bias: Array) -> Any:
        y, mean, var, inv_std = forward(x, scale, bias)
        return (y, mean, var), (x, scale, mean, inv_std)

    marked = jax.custom_vjp(call)
    marked.defvjp(keep, lambda kept, d: backward(d[0], *kept))
    return marked


def batch_norm_training(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Batch normalisation by the batch's own statistics: x [N, C, *size] -> y, mean, population variance [C].

    The statistics have no gradient.
    """
    return _batch_norm_training(epsilon)(x, scale, bias)


@functools.cache
def _batch_norm(epsilon: float) -> Callable[..., Array]:
    def normalise(x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Array:
        factor = scale / jnp.sqrt(var + epsilon)
        return (x - _per_channel(mean, x)) * _per_channel(factor, x) + _per_channel(bias, x)

    return _mark("BatchNorm", normalise, epsilon=epsilon)


def batch_norm(x: Array, scale: Array, bias: Array, mean: Array, var: Array, epsilon: float) -> Array:
    """Batch normalisation of x [N, C, *size] by given statistics [C]."""
    return _batch_norm(epsilon)(x, scale, bias, mean, var)


@functools.cache
def _local_response(size: int, k: float, alpha: float, beta: float) -> Callable[[Array], Array]:
    def normalise(x: Array) -> Array:
        window = (1, size, *[1] * (x.ndim - 2))
        radius = size // 2
        pads = [(0, 0), (radius, radius), *[(0, 0)] * (x.ndim - 2)]
        zero = np.zeros((), x.dtype)  # a number, not an array: JAX then knows that it is a sum
        total: Array = lax.reduce_window(x * x, zero, lax.add, window, [1] * x.ndim, pads)
        return x / (k + alpha * total) ** beta

    return _unary("LRN", normalise, size=size, bias=k, alpha=alpha * size, beta=beta)


def local_response_norm(x: Array, size: int, k: float, alpha: float, beta: float) -> Array:
    """``x / (k + alpha * sum(x^2))^beta`` of x [N, C, *size], the sum over the ``size`` channels around each (odd)."""
    return _local_response(size, k, alpha, beta)(x)


@functools.cache
def _random(op: str, shape: tuple[int, ...], dtype: str, stream: int) -> Callable[[Array], Array]:
    draw = {"RandomNormal": jax.random.normal, "RandomUniform": jax.random.uniform}[op]
    return _mark(op, lambda key: draw(jax.random.fold_in(key, stream), shape, dtype))


def random_normal(key: Array, shape: Sequence[int], dtype: str = "float32", stream: int = 0) -> Array:
    """Normal random numbers of mean 0 and deviation 1; ``stream`` tells the draws from one key apart."""
    return _random("RandomNormal", tuple(shape), dtype, stream)(key)


def random_uniform(key: Array, shape: Sequence[int], dtype: str = "float32", stream: int = 0) -> Array:
    """Uniform random numbers from 0 to 1; ``stream`` tells the draws from one key apart."""
    return _random("RandomUniform", tuple(shape), dtype, stream)(key)
