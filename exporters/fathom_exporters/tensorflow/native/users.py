"""The update of parameters as TensorFlow's own optimizers make it: by one kernel for each parameter, in place.

``tf.compat.v1.train.AdamOptimizer`` and its like run ``ResourceApplyAdam``, which Fathom's paper knows as ApplyAdam;
the optimizers of Keras 3 spell their updates out in elementwise operations. Adam's kernel has Kingma and Ba's epsilon
after their algorithm 1 (``epsilon hat``): it is added to the root of the uncorrected second moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from fathom_exporters.tensorflow.optimizers import STEP_SCOPE
from fathom_onnx.workloads.contract import Adam, AdamW, GradientDescent, Gradients, RMSProp, Variable, Workload

__all__ = ["apply_kernels", "kernel_slots", "treated"]

Tensors = Mapping[str, tf.Tensor]

Scope = Callable[[str], AbstractContextManager[Any]]
"""From a parameter's name, or the step's, to a context in which operations are named after it."""

_MOMENTUM = "rmsprop_momentum"


def kernel_slots(workload: Workload) -> dict[str, Variable]:
    """Variables that the kernels need and the workload does not have, to the parameter of each; all start at zero."""
    if not isinstance(workload.optimizer, RMSProp):
        return {}
    return {f"{p.name}.{_MOMENTUM}": p for p in workload.parameters}


def treated(rule: Gradients, gradients: Tensors, noise: Tensors, scope: Scope) -> dict[str, tf.Tensor]:
    """The gradients after clipping by TensorFlow's functions, noise and rows of zeros.

    Args:
        rule: The treatment.
        gradients: Gradients by parameter.
        noise: Normal noise by its own name; what is not there is drawn.
        scope: The context of each parameter's operations, and of the step's.
    """
    made = dict(gradients)
    if rule.clip_global_norm:
        with scope(f"{STEP_SCOPE}/{rule.OP}"):
            clipped, _ = tf.clip_by_global_norm(list(made.values()), rule.clip_global_norm)
        made = dict(zip(made, clipped, strict=True))
    if not (rule.clip_norm or rule.noise or rule.zero_rows):
        return made
    rows = dict(rule.zero_rows)
    for name, gradient in made.items():
        with scope(f"{name}/{rule.OP}"):
            if rule.clip_norm:
                gradient = tf.clip_by_norm(gradient, rule.clip_norm)
            if rule.noise:
                given = noise.get(rule.noise_of(name))
                gradient = gradient + rule.noise * (tf.random.normal(gradient.shape) if given is None else given)
            if name in rows:
                keep = tf.not_equal(tf.range(gradient.shape[0]), rows[name])
                gradient = gradient * tf.cast(keep, gradient.dtype)[:, tf.newaxis]
        made[name] = gradient
    return made


def apply_kernels(
    workload: Workload, handles: Tensors, gradients: Tensors, batch: Tensors, scope: Scope
) -> list[tf.Operation]:
    """Update variables by TensorFlow's kernels for a whole update.

    Args:
        workload: The workload, with the update rule.
        handles: Handles of the variables by name: parameters, the optimizer's, and :func:`kernel_slots`.
        gradients: Treated gradients by parameter.
        batch: Batch inputs by name, for the numbers of rows of row gradients.
        scope: The context of each parameter's operations, and of the step's.

    Returns:
        The operations that change variables; none when run eagerly.
    """
    rule, ops = workload.optimizer, tf.raw_ops
    numbers: dict[str, Any] = {}
    changes: list[tf.Operation] = []
    if isinstance(rule, Adam):
        with scope(STEP_SCOPE):
            step = ops.ReadVariableOp(resource=handles[rule.STEP], dtype=tf.float32) + 1
            numbers = {"beta1_power": tf.pow(rule.beta1, step), "beta2_power": tf.pow(rule.beta2, step)}
            changes.append(ops.AssignVariableOp(resource=handles[rule.STEP], value=step))
        numbers |= {"lr": rule.learning_rate, "beta1": rule.beta1, "beta2": rule.beta2, "epsilon": rule.epsilon}
    elif isinstance(rule, RMSProp):
        numbers = {"lr": rule.learning_rate, "rho": rule.decay, "momentum": 0.0, "epsilon": rule.epsilon}
    for name, gradient in gradients.items():
        slots = [] if isinstance(rule, GradientDescent) else [handles[slot] for slot in rule.slots(name)]
        variable = handles[name]
        with scope(name):
            if isinstance(rule, RMSProp):
                still = handles[f"{name}.{_MOMENTUM}"]
                change = ops.ResourceApplyRMSProp(var=variable, ms=slots[0], mom=still, grad=gradient, **numbers)
            elif isinstance(rule, Adam):
                shrunk = [_shrink(rule, variable, gradient.dtype)] if isinstance(rule, AdamW) else []
                with tf.control_dependencies([change for change in shrunk if change is not None]):
                    change = ops.ResourceApplyAdam(var=variable, m=slots[0], v=slots[1], grad=gradient, **numbers)
            elif name in workload.row_gradients:
                numbers_of_rows = tf.reshape(batch[workload.row_gradients[name]], [-1])
                change = ops.ResourceScatterSub(
                    resource=variable, indices=numbers_of_rows, updates=rule.learning_rate * gradient
                )
            else:
                change = ops.ResourceApplyGradientDescent(var=variable, alpha=rule.learning_rate, delta=gradient)
        changes.append(change)
    return [change for change in changes if change is not None]


def _shrink(rule: AdamW, variable: tf.Tensor, dtype: tf.DType) -> tf.Operation | None:
    """Weight decay of a variable, as optimizers that add it to Adam do: before Adam's own update."""
    decay = rule.learning_rate * rule.weight_decay
    lost = decay * tf.raw_ops.ReadVariableOp(resource=variable, dtype=dtype)
    return tf.raw_ops.AssignSubVariableOp(resource=variable, value=lost)
