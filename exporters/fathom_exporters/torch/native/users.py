"""A workload's step as PyTorch's users write one: a module that holds its state, ``backward()``, ``torch.optim``.

Where PyTorch's optimizer has another formula than the workload, the step has PyTorch's: ``torch.optim.RMSprop`` adds
epsilon to the root where the workload adds it inside (its square root is taken, so that the longest step is the same),
and ``clip_grad_norm_`` adds 1e-6 to the norm that it divides by.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
import torch._dynamo  # what the first optimizer of a process imports: a copy of one that has imported this need not
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from fathom_exporters.torch.models import make
from fathom_exporters.torch.stepping import OP, PHASE, SCOPE, Mark
from fathom_onnx.workloads.contract import Adam, AdamW, Array, Gradients, Mode, RMSProp, Workload

from .updates import Trained

__all__ = ["STEP_SCOPE", "Forms", "UserStep", "library_optimizer", "treat_in_place"]

STEP_SCOPE = "step"
"""The scope of what all parameters share."""

Forms = Mapping[str, bool]
"""Options ``foreach`` and ``fused`` of ``torch.optim``; none for its default."""

Loss = Callable[[Any, Mapping[str, Tensor]], Tensor]
"""From (outputs, batch) to the scalar loss."""


def _no_mark(_: dict[str, str]) -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


def library_optimizer(workload: Workload, parameters: Iterable[nn.Parameter], forms: Forms | None = None) -> Optimizer:
    """The class of ``torch.optim`` for a workload's update rule.

    Args:
        workload: The workload.
        parameters: The parameters to update.
        forms: How they are updated; by default as ``torch.optim`` chooses, which is one after the other on the CPU.
            ``fused`` is left out where the rule has no such kernel, or none for sparse gradients.
    """
    rule, how = workload.optimizer, dict(forms or {})
    if isinstance(rule, RMSProp) or workload.row_gradients:
        how.pop("fused", None)
    if isinstance(rule, RMSProp):
        return torch.optim.RMSprop(parameters, rule.learning_rate, rule.decay, rule.epsilon**0.5, **how)
    if isinstance(rule, AdamW):
        betas = (rule.beta1, rule.beta2)
        return torch.optim.AdamW(parameters, rule.learning_rate, betas, rule.epsilon, rule.weight_decay, **how)
    if isinstance(rule, Adam):
        return torch.optim.Adam(parameters, rule.learning_rate, (rule.beta1, rule.beta2), rule.epsilon, **how)
    return torch.optim.SGD(parameters, rule.learning_rate, **how)


def treat_in_place(
    rule: Gradients, parameters: Mapping[str, nn.Parameter], noise: Mapping[str, Tensor], mark: Mark = _no_mark
) -> None:
    """Clip the gradients of parameters, add noise to them and zero rows of them, in that order and in place.

    Args:
        rule: The treatment.
        parameters: The parameters by name, each with a gradient.
        noise: Normal noise by its own name; what is not there is drawn.
        mark: The kind of mark: what is clipped together is in the scope of the step.
    """
    if rule.clip_global_norm:
        with mark({PHASE: "optimizer", SCOPE: STEP_SCOPE, OP: rule.OP}):
            clip_grad_norm_(parameters.values(), rule.clip_global_norm)
    if not (rule.clip_norm or rule.noise or rule.zero_rows):
        return
    rows = dict(rule.zero_rows)
    for name, parameter in parameters.items():
        gradient = parameter.grad
        assert gradient is not None
        with mark({PHASE: "optimizer", SCOPE: name, OP: rule.OP}):
            if rule.clip_norm:
                clip_grad_norm_([parameter], rule.clip_norm)
            if rule.noise:
                given = noise.get(rule.noise_of(name))
                gradient.add_(torch.randn_like(gradient) if given is None else given, alpha=rule.noise)
            if name in rows:
                gradient[rows[name]] = 0


class UserStep:
    """A workload's step in PyTorch, its state in the module and the optimizer.

    Attributes:
        model: The module.
        parameters: Its trained parameters by name, in the optimizer's order.
    """

    def __init__(
        self,
        workload: Workload,
        mode: Mode,
        *,
        mark: Mark | None = None,
        forms: Forms | None = None,
        model: nn.Module | None = None,
        loss: Loss | None = None,
        compiler: Callable[[Any], Any] = lambda function: function,
    ) -> None:
        """Make the module, if it is not given.

        Args:
            workload: The workload.
            mode: Inference or training.
            mark: The kind of mark on phases and on the treatment of gradients; none without it.
            forms: How ``torch.optim`` updates; by default as it chooses.
            model: Another module than the workload's, with the same inputs and outputs.
            loss: Another loss than the module's.
            compiler: What is made of the forward pass and its loss, such as ``torch.compile``.

        Raises:
            UnknownNameError: The workload has no model in PyTorch.
            ExportError: The model has other parameters or buffers than the workload.
        """
        self._workload, self._mode, self._mark, self._forms = workload, mode, mark or _no_mark, forms
        self.model = make(workload) if model is None else model
        self.model.train(mode == "training")
        frozen = {v.name for v in workload.frozen}
        own = dict(self.model.named_parameters())
        self.parameters = {name: p for name, p in own.items() if p.requires_grad and name not in frozen}
        for name in frozen & own.keys():
            own[name].requires_grad_(False)
        self._caches: dict[str, Tensor] = {}
        self._optimizer = self._new_optimizer()
        measure = loss or cast("Loss", self.model.loss)

        def forward(batch: Mapping[str, Tensor]) -> Any:
            outputs = self.model(batch)
            return outputs if mode == "inference" else measure(outputs, batch)

        def marked(batch: Mapping[str, Tensor]) -> Any:
            with self._phase("forward"):
                outputs = self.model(batch)
            if mode == "inference":
                return outputs
            with self._mark({PHASE: "loss", SCOPE: Workload.LOSS}):
                return measure(outputs, batch)

        self._forward = compiler(marked if mark else forward)

    def _phase(self, phase: str) -> AbstractContextManager[Any]:
        return self._mark({PHASE: phase})

    def _new_optimizer(self) -> Optimizer | None:
        if self._mode == "inference":
            return None
        return library_optimizer(self._workload, self.parameters.values(), self._forms)

    def load(self, values: Mapping[str, Array]) -> None:
        """Put starting values into the module, and start the optimizer and the caches anew.

        Args:
            values: Values by variable name; the optimizer's, which start at zero, are not looked at.
        """
        own = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        with torch.no_grad():
            for name in own.keys() & values.keys():
                own[name].copy_(torch.from_numpy(values[name]))
        self._caches = {v.name: torch.from_numpy(values[v.name]) for v in self._workload.caches}
        for parameter in self.parameters.values():
            parameter.grad = None
        self._optimizer = self._new_optimizer()

    def run(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run one step: the loss or, in inference, the outputs besides new caches."""
        return self._train(batch) if self._mode == "training" else self._infer(batch)

    def _infer(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            outputs = self._forward({**batch, **self._caches})
        self._caches = {v.name: outputs[v.next.name] for v in self._workload.caches}
        return {spec.name: outputs[spec.name] for spec in self._workload.outputs}

    def _train(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        optimizer = self._optimizer
        assert optimizer is not None
        optimizer.zero_grad()
        loss = self._forward(batch)
        with self._phase("backward"):
            loss.backward()
        self.treat(batch)
        self.update()
        return {Workload.LOSS: loss.detach()}

    @property
    def updates_by(self) -> str:
        """The class of the optimizer, in words; empty in inference."""
        return "" if self._optimizer is None else f"torch.optim.{type(self._optimizer).__name__}"

    def trained(self) -> list[Trained]:
        """The parameters that the last step updated, in the optimizer's order."""
        return [Trained(name, p.numel()) for name, p in self.parameters.items() if p.grad is not None]

    def treat(self, batch: Mapping[str, Tensor]) -> None:
        """Treat the gradients as the workload says."""
        treat_in_place(self._workload.gradients, self.parameters, batch, self._mark)

    def update(self) -> None:
        """The optimizer's step."""
        assert self._optimizer is not None
        with self._mark({PHASE: "optimizer", SCOPE: STEP_SCOPE, OP: self._workload.optimizer.OP}):
            self._optimizer.step()
