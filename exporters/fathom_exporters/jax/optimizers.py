"""Update rules by optax, and the treatment of gradients before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from fathom_onnx.workloads.contract import (
    RATE,
    Adam,
    AdamW,
    GradientDescent,
    Gradients,
    Optimizer,
    RMSProp,
    Workload,
)

from .models.contract import Draw, Tensors

__all__ = ["apply", "transformation"]


def transformation(rule: Optimizer, rate: Any = None) -> optax.GradientTransformation:
    """An update rule as optax has it.

    Args:
        rule: The rule.
        rate: A learning rate that takes the place of the rule's own.
    """
    rate = rule.learning_rate if rate is None else rate
    if isinstance(rule, AdamW):
        return optax.adamw(rate, rule.beta1, rule.beta2, rule.epsilon, weight_decay=rule.weight_decay)
    if isinstance(rule, Adam):
        return optax.adam(rate, rule.beta1, rule.beta2, rule.epsilon)
    if isinstance(rule, RMSProp):
        return optax.rmsprop(rate, rule.decay, rule.epsilon, eps_in_sqrt=True)
    return optax.sgd(rate)


_KEYS: dict[type[Any], tuple[str, ...]] = {
    Adam: ("mu", "nu"),
    AdamW: ("mu", "nu"),
    RMSProp: ("nu",),
    GradientDescent: (),
}
"""Update rule to the names of its state in optax, in the order of the rule's slots."""


def _slots(rule: Optimizer, parameter: str) -> tuple[str, ...]:
    return () if isinstance(rule, GradientDescent) else rule.slots(parameter)


def _sum_of_squares(gradient: Array) -> Array:
    """The sum over rows, then over their sums.

    Runtimes add all elements of a tensor in turn in float32: for 50,288 x 768 of them onnxruntime's sum is 0.6 % off,
    by rows 1e-6.
    """
    squares = jnp.square(gradient)
    return squares.sum(-1).sum() if squares.ndim > 1 else squares.sum()


def _treat(rule: Gradients, gradients: Tensors, noise: Draw) -> dict[str, Array]:
    """The gradients after the rule's clipping, noise and rows of zeros.

    optax clips by the norm of all gradients with two passes over each; this is one, and the same number.
    """
    treated = dict(gradients)
    if rule.clip_global_norm:
        norm = jnp.sqrt(sum(map(_sum_of_squares, treated.values()), start=jnp.zeros((), _dtype(treated))))
        scale = rule.clip_global_norm / jnp.maximum(norm, rule.clip_global_norm)
        treated = {name: gradient * scale for name, gradient in treated.items()}
    rows = dict(rule.zero_rows)
    for name, gradient in treated.items():
        if rule.clip_norm:
            norm = jnp.sqrt(jnp.square(gradient).sum())
            gradient = gradient * (rule.clip_norm / jnp.maximum(norm, rule.clip_norm))
        if rule.noise:
            gradient = gradient + rule.noise * noise(rule.noise_of(name))
        if name in rows:
            keep = jnp.arange(gradient.shape[0]) != rows[name]
            gradient = gradient * keep[:, None].astype(gradient.dtype)
        treated[name] = gradient
    return treated


def _dtype(gradients: Tensors) -> Any:
    return next(iter(gradients.values())).dtype


def apply(workload: Workload, values: Tensors, gradients: Tensors, noise: Draw) -> dict[str, Array]:
    """New values of all parameters and of the optimizer's state, by variable name.

    optax counts steps in int32, the workload in a float32 of its own. What optax updates as one tree belongs to
    parameters by what it is computed from; the treatment of gradients is in a scope of its op's name.

    Args:
        workload: The workload, with the update rule and the treatment of gradients.
        values: Parameters and optimizer state by name.
        gradients: Gradients by parameter name.
        noise: Gives the noise that is added to gradients.
    """
    rule = workload.optimizer
    with jax.named_scope(Gradients.OP):
        treated = _treat(workload.gradients, gradients, noise)
    parameters = {p.name: values[p.name] for p in workload.parameters}
    optimizer = transformation(rule, values.get(RATE))
    given: dict[str, Any] = {
        key: {name: values[_slots(rule, name)[index]] for name in parameters}
        for index, key in enumerate(_KEYS[type(rule)])
    }
    if isinstance(rule, Adam):
        given["count"] = values[rule.STEP].astype("int32")
    state = optimizer.init(parameters)
    state = optax.tree.set(state, **given) if given else state
    updates, state = optimizer.update(treated, state, parameters)
    new: dict[str, Array] = dict(optax.apply_updates(parameters, updates))
    for index, key in enumerate(_KEYS[type(rule)]):
        made: Mapping[str, Array] = optax.tree.get(state, key)
        new |= {_slots(rule, name)[index]: made[name] for name in parameters}
    if isinstance(rule, Adam):
        new[rule.STEP] = optax.tree.get(state, "count").astype(values[rule.STEP].dtype)
    return new
