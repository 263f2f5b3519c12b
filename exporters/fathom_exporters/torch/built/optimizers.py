"""The update rules of this package's workloads as optimizers of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fathom_onnx.workloads.contract import Adam, AdamW, GradientDescent, RMSProp, Workload

__all__ = ["RootedRMSprop", "optimizer_of", "slots_of"]


class RootedRMSprop(Optimizer):
    """RMSProp with epsilon inside the root, which ``torch.optim`` does not have.

    ``v = decay * v + (1 - decay) * g^2; p = p - lr * g / sqrt(v + epsilon)``, as in the DQN of Mnih et al. (2015).
    """

    OP = RMSProp.OP

    def __init__(self, params: Iterable[nn.Parameter], lr: float, decay: float, eps: float) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "square_avg" not in state:
                    state["square_avg"] = torch.zeros_like(parameter)
                square: Tensor = state["square_avg"]
                square.mul_(group["decay"]).addcmul_(parameter.grad, parameter.grad, value=1 - group["decay"])
                parameter.addcdiv_(parameter.grad, (square + group["eps"]).sqrt(), value=-group["lr"])


def optimizer_of(workload: Workload, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer of a workload over a model's parameters."""
    rule = workload.optimizer
    if isinstance(rule, AdamW):
        betas = (rule.beta1, rule.beta2)
        return torch.optim.AdamW(parameters, rule.learning_rate, betas, rule.epsilon, rule.weight_decay, foreach=False)
    if isinstance(rule, Adam):
        return torch.optim.Adam(parameters, rule.learning_rate, (rule.beta1, rule.beta2), rule.epsilon, foreach=False)
    if isinstance(rule, RMSProp):
        return RootedRMSprop(parameters, rule.learning_rate, rule.decay, rule.epsilon)
    return torch.optim.SGD(parameters, rule.learning_rate, foreach=False)


_KEYS: dict[type[Any], tuple[str, ...]] = {
    Adam: ("exp_avg", "exp_avg_sq"),
    AdamW: ("exp_avg", "exp_avg_sq"),
    RMSProp: ("square_avg",),
    GradientDescent: (),
}
"""Update rule to the keys of its state, in the order of the rule's slots."""


def slots_of(workload: Workload) -> Mapping[str, Mapping[str, str]]:
    """Parameter to its optimizer state: key of PyTorch's state to the workload's variable."""
    rule = workload.optimizer
    shared = {"step": rule.STEP} if isinstance(rule, Adam) else {}
    found: dict[str, dict[str, str]] = {}
    for parameter in workload.parameters:
        slots = () if isinstance(rule, GradientDescent) else rule.slots(parameter.name)
        found[parameter.name] = {**shared, **dict(zip(_KEYS[type(rule)], slots, strict=True))}
    return found
