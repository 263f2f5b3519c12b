"""speech in PyTorch: the Deep Speech of :mod:`fathom_onnx.workloads.suite2016.speech`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.ctc import ctc_loss
from fathom_onnx.workloads.suite2016.speech import SpeechConfig

__all__ = ["DeepSpeech"]


class TimeMajor(nn.Module):
    """[N, T, C] -> [T * N, C]: the frames of one time step lie together, so that a recurrent layer reads a block."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).flatten(0, 1)


class ClippedReLU(nn.Module):
    """``min(max(x, 0), bound)``."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        return F.hardtanh(x, 0.0, self.bound)


class RecurrentInput(nn.Linear):
    """The input of both directions, 0 for frames past the utterance's end: [T * N, H] -> [T * N, H]."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        times = torch.arange(x.shape[0] // lengths.shape[0])
        in_utterance = (times.unsqueeze(1) < lengths.unsqueeze(0)).to(x.dtype)
        return super().forward(x) * in_utterance.view(-1, 1)


class Direction(nn.Module):
    """``h[t] = clip(z[t] + W h[t'])`` t' the time before t in this direction: z, h [T * N, H]."""

    def __init__(self, width: int, bound: float, reverse: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bound = bound
        self.reverse = reverse

    def forward(self, z: Tensor, batch: int) -> Tensor:
        steps = z.split(batch)
        states: list[Tensor] = []
        for step in reversed(steps) if self.reverse else steps:
            x = step + F.linear(states[-1], self.weight) if states else step
            states.append(F.hardtanh(x, 0.0, self.bound))
        return torch.cat(states[::-1] if self.reverse else states)


class Sum(nn.Module):
    """The sum of the two directions."""

    def forward(self, forwards: Tensor, backwards: Tensor) -> Tensor:
        return forwards + backwards


class Bidirectional(nn.Module):
    """The recurrent layer: [T * N, H] -> [T * N, H]."""

    def __init__(self, width: int, bound: float) -> None:
        super().__init__()
        self.input = RecurrentInput(width, width)
        self.forwards = Direction(width, bound, reverse=False)
        self.backwards = Direction(width, bound, reverse=True)
        self.sum = Sum()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        z = self.input(x, lengths)
        batch = lengths.shape[0]
        both: Tensor = self.sum(self.forwards(z, batch), self.backwards(z, batch))
        return both


class Output(nn.Linear):
    """Scores of every frame: [T * N, H] -> [T, N, classes]."""

    def forward(self, x: Tensor, batch: int) -> Tensor:  # type: ignore[override]
        return super().forward(x).view(-1, batch, self.out_features)


class DeepSpeech(nn.Module):
    """The whole model: features [N, T, coefficients] and lengths [N] -> logits [T, N, phonemes + 1]."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.time_major = TimeMajor()
        self.hidden1 = nn.Linear(config.coefficients, config.width)
        self.clip1 = ClippedReLU(config.bound)
        self.hidden2 = nn.Linear(config.width, config.width)
        self.clip2 = ClippedReLU(config.bound)
        self.hidden3 = nn.Linear(config.width, config.width)
        self.clip3 = ClippedReLU(config.bound)
        self.recurrent = Bidirectional(config.width, config.bound)
        self.hidden5 = nn.Linear(config.width, config.width)
        self.clip5 = ClippedReLU(config.bound)
        self.output = Output(config.width, config.phonemes + 1)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the logits."""
        lengths = batch["feature_lengths"]
        x = self.time_major(batch["features"])
        x = self.clip3(self.hidden3(self.clip2(self.hidden2(self.clip1(self.hidden1(x))))))
        x = self.clip5(self.hidden5(self.recurrent(x, lengths)))
        return {"logits": self.output(x, lengths.shape[0])}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over the batch of the connectionist temporal classification losses."""
        losses = ctc_loss(outputs["logits"], batch["feature_lengths"], batch["labels"], batch["label_lengths"])
        return losses.mean()
