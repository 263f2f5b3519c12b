"""Update rules as functions of values and gradients: ``torch.optim`` keeps state that a recording cannot follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from fathom_onnx.workloads.contract import Adam, GradientDescent, Gradients, Optimizer, RMSProp, Workload

__all__ = ["Annotate", "apply", "apply_rule", "treat"]

Tensors = Mapping[str, Tensor]


class Annotate(Protocol):
    """Marks what is computed inside as the update of a parameter by an op."""

    def __call__(self, scope: str, op: str) -> AbstractContextManager[object]:
        """A context in which everything belongs to ``scope`` and ``op``."""


def treat(rule: Gradients, values: Tensors, gradients: Tensors, mark: Annotate) -> dict[str, Tensor]:
    """The gradients after the rule's clipping, noise and rows of zeros."""
    treated = dict(gradients)
    if rule.clip_global_norm:
        with mark("step", rule.OP):
            norm = torch.sqrt(torch.stack([(g * g).sum() for g in treated.values()]).sum())
            scale = rule.clip_global_norm / torch.clamp(norm, min=rule.clip_global_norm)
        for name in treated:
            with mark(name, rule.OP):
                treated[name] = treated[name] * scale
    rows = dict(rule.zero_rows)
    for name, gradient in treated.items():
        with mark(name, rule.OP):
            if rule.clip_norm:
                norm = torch.sqrt((gradient * gradient).sum())
                gradient = gradient * (rule.clip_norm / torch.clamp(norm, min=rule.clip_norm))
            if rule.noise:
                noise = values.get(rule.noise_of(name))
                gradient = gradient + rule.noise * (torch.randn_like(gradient) if noise is None else noise)
            if name in rows:
                keep = torch.arange(gradient.shape[0]) != rows[name]
                gradient = gradient * keep.to(gradient.dtype).unsqueeze(1)
        treated[name] = gradient
    return treated


def _adam(rule: Adam, values: Tensors, gradients: Tensors, mark: Annotate) -> dict[str, Tensor]:
    new: dict[str, Tensor] = {}
    with mark("step", rule.OP):
        step = values[rule.STEP] + 1
        correction1 = 1 - torch.pow(rule.beta1, step)
        correction2 = 1 - torch.pow(rule.beta2, step)
    for name, gradient in gradients.items():
        m_name, v_name = rule.slots(name)
        with mark(name, rule.OP):
            m = rule.beta1 * values[m_name] + (1 - rule.beta1) * gradient
            v = rule.beta2 * values[v_name] + (1 - rule.beta2) * gradient * gradient
            update = (m / correction1) / (torch.sqrt(v / correction2) + rule.epsilon)
            new |= {name: values[name] - rule.learning_rate * update, m_name: m, v_name: v}
    return {**new, rule.STEP: step}


def _rmsprop(rule: RMSProp, values: Tensors, gradients: Tensors, mark: Annotate) -> dict[str, Tensor]:
    new: dict[str, Tensor] = {}
    for name, gradient in gradients.items():
        (v_name,) = rule.slots(name)
        with mark(name, rule.OP):
            v = rule.decay * values[v_name] + (1 - rule.decay) * gradient * gradient
            update = gradient / torch.sqrt(v + rule.epsilon)
            new |= {name: values[name] - rule.learning_rate * update, v_name: v}
    return new


def _descent(rule: GradientDescent, values: Tensors, gradients: Tensors, mark: Annotate) -> dict[str, Tensor]:
    new: dict[str, Tensor] = {}
    for name, gradient in gradients.items():
        with mark(name, rule.OP):
            new[name] = values[name] - rule.learning_rate * gradient
    return new


_RULES: dict[type, Callable[[Any, Tensors, Tensors, Annotate], dict[str, Tensor]]] = {
    Adam: _adam,
    RMSProp: _rmsprop,
    GradientDescent: _descent,
}


def apply_rule(rule: Optimizer, values: Tensors, gradients: Tensors, mark: Annotate) -> dict[str, Tensor]:
    """New values of all parameters and of the optimizer's state by one update rule, by variable name."""
    return _RULES[type(rule)](rule, values, gradients, mark)


def apply(workload: Workload, values: Tensors, gradients: Tensors, mark: Annotate) -> dict[str, Tensor]:
    """New values of all parameters and of the optimizer's state, by variable name."""
    return apply_rule(workload.optimizer, values, treat(workload.gradients, values, gradients, mark), mark)
