"""The optimizers as functions, since ``torch.optim`` keeps its state where a capture cannot follow it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from fathom_onnx.workloads.contract import Adam, Optimizer

__all__ = ["Annotate", "apply"]


class Annotate(Protocol):
    """Marks what is computed inside as the update of a parameter by an op."""

    def __call__(self, scope: str, op: str) -> AbstractContextManager[object]:
        """A context in which everything belongs to ``scope`` and ``op``."""


def _adam(
    rule: Adam, values: Mapping[str, Tensor], gradients: Mapping[str, Tensor], mark: Annotate
) -> dict[str, Tensor]:
    new: dict[str, Tensor] = {}
    with mark("step", rule.op):
        step = values[rule.STEP] + 1
        correction1 = 1 - torch.pow(rule.beta1, step)
        correction2 = 1 - torch.pow(rule.beta2, step)
    for name, gradient in gradients.items():
        m_name, v_name = rule.slots(name)
        with mark(name, rule.op):
            m = rule.beta1 * values[m_name] + (1 - rule.beta1) * gradient
            v = rule.beta2 * values[v_name] + (1 - rule.beta2) * gradient * gradient
            update = (m / correction1) / (torch.sqrt(v / correction2) + rule.epsilon)
            new |= {name: values[name] - rule.learning_rate * update, m_name: m, v_name: v}
    return {**new, rule.STEP: step}


def apply(
    rule: Optimizer, values: Mapping[str, Tensor], gradients: Mapping[str, Tensor], mark: Annotate
) -> dict[str, Tensor]:
    """New values of all parameters and of the optimizer's state, by variable name."""
    return _adam(rule, values, gradients, mark)
