"""A workload's step in PyTorch, written as its users write one: an ``nn.Module``, ``backward()``, ``torch.optim``.

Where a model of ours spells out in plain operations what PyTorch has in its library, because a graph has no such
thing, the library's is used: ``nn.LSTM`` in seq2seq's encoder and ``F.ctc_loss`` in speech.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from fathom_exporters.torch.models import make
from fathom_onnx.data import batches_for
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Adam, AdamW, Gradients, RMSProp, Workload

from .contestants import Case

__all__ = ["TorchStep"]

_BATCHES = 2
_OPTIMIZERS: dict[str, dict[str, bool]] = {
    "torch-eager": {"foreach": True},
    "torch-loop": {"foreach": False},
    "torch-fused": {"fused": True},
    "torch-compile": {"fused": True},
}


class LibraryLSTM(nn.Module):
    """A layer of seq2seq's encoder by PyTorch's LSTM; the forget gate's extra bias is part of the bias's start."""

    def __init__(self, reads: int, hidden: int, last_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(reads, hidden)
        self.last_first = last_first

    def forward(self, x: Tensor, batch: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """[steps * B, in] to h of every step in the order of computation, and the last state."""
        steps = x.unflatten(0, (-1, batch))
        out, (h, c) = self.lstm(steps.flip(0) if self.last_first else steps)
        return out.flatten(0, 1), (h[0], c[0])


def _ctc(outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    logits = outputs["logits"]
    losses = F.ctc_loss(
        F.log_softmax(logits, 2),
        batch["labels"],
        batch["feature_lengths"],
        batch["label_lengths"],
        blank=logits.shape[2] - 1,
        reduction="none",
    )
    return losses.mean()


def _model(definition: Workload) -> tuple[nn.Module, Callable[..., Tensor]]:
    """A workload's model as its users would write it, with its starting values, and its loss."""
    model = make(definition)
    start = definition.initial_values("training", 0)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in start.items():
            if name in own:
                own[name].copy_(torch.from_numpy(value))
    if definition.name == "seq2seq":
        for name, layer in list(model.encoder.named_children()):
            if name.startswith("lstm"):
                hidden, reads = layer.hidden_weight.shape[1], layer.input_weight.shape[1]
                setattr(model.encoder, name, LibraryLSTM(reads, hidden, layer.last_first))
    loss: Callable[..., Tensor] = _ctc if definition.name == "speech" else model.loss  # type: ignore[assignment]
    return model, loss


def _optimizer(definition: Workload, parameters: list[nn.Parameter], how: Mapping[str, bool]) -> torch.optim.Optimizer:
    rule = definition.optimizer
    if isinstance(rule, Adam):
        betas = (rule.beta1, rule.beta2)
        if isinstance(rule, AdamW):
            return torch.optim.AdamW(parameters, rule.learning_rate, betas, rule.epsilon, rule.weight_decay, **how)
        return torch.optim.Adam(parameters, rule.learning_rate, betas, rule.epsilon, **how)
    if isinstance(rule, RMSProp):  # epsilon is outside of the root here; PyTorch has no fused kernel for the rule
        foreach = how.get("foreach", True)
        return torch.optim.RMSprop(parameters, rule.learning_rate, rule.decay, rule.epsilon**0.5, foreach=foreach)
    return torch.optim.SGD(parameters, rule.learning_rate, **how)


def _treat(rule: Gradients, parameters: Mapping[str, nn.Parameter]) -> None:
    """Clip gradients and add noise to them, in place."""
    if rule.clip_global_norm:
        clip_grad_norm_(parameters.values(), rule.clip_global_norm)
    if not (rule.clip_norm or rule.noise or rule.zero_rows):
        return
    rows = dict(rule.zero_rows)
    for name, parameter in parameters.items():
        gradient = parameter.grad
        assert gradient is not None
        if rule.clip_norm:
            clip_grad_norm_([parameter], rule.clip_norm)
        if rule.noise:
            gradient.add_(torch.randn_like(gradient), alpha=rule.noise)
        if name in rows:
            gradient[rows[name]] = 0


class TorchStep:
    """A step in PyTorch, for one of the contestants ``torch-...``."""

    def __init__(self, case: Case, contestant: str) -> None:
        definition = workload(case.workload, case.preset)
        drawn = itertools.islice(batches_for(definition, case.mode, 0), _BATCHES)
        batches = [{n: torch.from_numpy(v) for n, v in batch.items()} for batch in drawn]
        self._batches = itertools.cycle(batches)
        model, loss = _model(definition)
        self._optimizer_s: list[float] = []
        compiled: Callable[[Any], Any] = torch.compile if contestant == "torch-compile" else lambda function: function
        if case.mode == "inference":
            model.eval()
            self._step = torch.inference_mode()(compiled(lambda batch: model(batch)))
            return
        model.train()
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        optimizer = _optimizer(definition, list(parameters.values()), _OPTIMIZERS[contestant])
        forward = compiled(lambda batch: loss(model(batch), batch))

        def step(batch: dict[str, Tensor]) -> Any:
            optimizer.zero_grad()
            value = forward(batch)
            value.backward()
            _treat(definition.gradients, parameters)
            started = time.perf_counter()
            optimizer.step()
            self._optimizer_s.append(time.perf_counter() - started)
            return value

        self._step = step

    def run(self) -> float:
        """Seconds of one step."""
        batch = next(self._batches)
        started = time.perf_counter()
        self._step(batch)
        return time.perf_counter() - started

    def optimizer_s(self) -> list[float]:
        """Seconds of the optimizer in each step since the last call, without the treatment of gradients."""
        taken, self._optimizer_s = self._optimizer_s, []
        return taken
