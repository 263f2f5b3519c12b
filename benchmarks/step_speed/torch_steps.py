"""A workload's step in PyTorch as its users write one, see :mod:`fathom_exporters.torch.native.users`, timed.

Where a model of ours spells out in plain operations what PyTorch has in its library, because a graph has no such
thing, the library's is used: ``nn.LSTM`` in seq2seq's encoder and ``F.ctc_loss`` in speech.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.models import make
from fathom_exporters.torch.native.users import Forms, UserStep
from fathom_onnx.data import batches_for
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Workload

from .contestants import Case

__all__ = ["TorchStep"]

_BATCHES = 2
_FORMS: dict[str, Forms] = {
    "torch-eager": {},
    "torch-foreach": {"foreach": True},
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


def _model(definition: Workload) -> nn.Module:
    """A workload's model as its users would write it."""
    model = make(definition)
    if definition.name == "seq2seq":
        for name, layer in list(model.encoder.named_children()):
            if name.startswith("lstm"):
                hidden, reads = layer.hidden_weight.shape[1], layer.input_weight.shape[1]
                setattr(model.encoder, name, LibraryLSTM(reads, hidden, layer.last_first))
    return model


class _TimedUpdates(UserStep):
    """A step that notes the seconds of its optimizer, without the treatment of gradients."""

    optimizer_s: list[float]

    def update(self) -> None:
        """The optimizer's step."""
        started = time.perf_counter()
        super().update()
        self.optimizer_s.append(time.perf_counter() - started)


class TorchStep:
    """A step in PyTorch, for one of the contestants ``torch-...``."""

    def __init__(self, case: Case, contestant: str) -> None:
        definition = workload(case.workload, case.preset)
        drawn = itertools.islice(batches_for(definition, case.mode, 0), _BATCHES)
        batches = [{n: torch.from_numpy(v) for n, v in batch.items()} for batch in drawn]
        self._batches = itertools.cycle(batches)
        self._step = _TimedUpdates(
            definition,
            case.mode,
            forms=_FORMS[contestant],
            model=_model(definition),
            loss=_ctc if definition.name == "speech" else None,
            compiler=torch.compile if contestant == "torch-compile" else lambda function: function,
        )
        self._step.optimizer_s = []
        self._step.load(definition.initial_values(case.mode, 0))

    def run(self) -> float:
        """Seconds of one step."""
        batch = next(self._batches)
        started = time.perf_counter()
        self._step.run(batch)
        return time.perf_counter() - started

    def optimizer_s(self) -> list[float]:
        """Seconds of the optimizer in each step since the last call, without the treatment of gradients."""
        taken, self._step.optimizer_s = self._step.optimizer_s, []
        return taken
