"""The optimizers as functions of values and gradients: TensorFlow's own keep their state in variables."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_onnx.workloads.contract import Adam, Optimizer

from .net import Net

__all__ = ["STEP_SCOPE", "apply"]

STEP_SCOPE = "step"
"""The scope of what all parameters share."""


def _adam(
    net: Net, rule: Adam, values: Mapping[str, tf.Tensor], gradients: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    new: dict[str, tf.Tensor] = {}
    with net.scope(STEP_SCOPE):
        step = values[rule.STEP] + 1
        correction1 = 1 - tf.pow(tf.constant(rule.beta1, step.dtype), step)
        correction2 = 1 - tf.pow(tf.constant(rule.beta2, step.dtype), step)
    for name, gradient in gradients.items():
        m_name, v_name = rule.slots(name)
        with net.scope(name):
            m = rule.beta1 * values[m_name] + (1 - rule.beta1) * gradient
            v = rule.beta2 * values[v_name] + (1 - rule.beta2) * tf.square(gradient)
            update = (m / correction1) / (tf.sqrt(v / correction2) + rule.epsilon)
            new |= {name: values[name] - rule.learning_rate * update, m_name: m, v_name: v}
    return {**new, rule.STEP: step}


def apply(
    net: Net, rule: Optimizer, values: Mapping[str, tf.Tensor], gradients: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """New values of all parameters and of the optimizer's state, by variable name."""
    return _adam(net, rule, values, gradients)
