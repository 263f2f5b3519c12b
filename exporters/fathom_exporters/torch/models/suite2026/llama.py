"""llama and llama-decode in PyTorch: the decoder of :mod:`fathom_onnx.workloads.suite2026.llama`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition
from fathom_onnx.workloads.suite2026.llama import LlamaConfig

from .decoder import AttentionPart, Decoder, RmsNorm

__all__ = ["Llama"]


class SwiGlu(nn.Module):
    """``silu(gate) * up`` with ``silu(x) = x * sigmoid(x)``."""

    def forward(self, gate: Tensor, up: Tensor) -> Tensor:
        return gate * torch.sigmoid(gate) * up


class Block(AttentionPart):
    """Attention and a SwiGLU feed-forward part."""

    def __init__(self, c: LlamaConfig) -> None:
        super().__init__(c)
        self.feed_norm = RmsNorm(c.width, c.epsilon)
        self.gate = nn.Linear(c.width, c.hidden, bias=False)
        self.up = nn.Linear(c.width, c.hidden, bias=False)
        self.swiglu = SwiGlu()
        self.down = nn.Linear(c.hidden, c.width, bias=False)
        self.feed_add = Addition()

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor,
        index: Tensor | None,
        held: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`AttentionPart.attend`, the feed-forward part after it."""
        x, keys, values = self.attend(x, angles, mask, index, held)
        normed = self.feed_norm(x)
        fed = self.down(self.swiglu(self.gate(normed), self.up(normed)))
        return self.feed_add(x, fed), keys, values


class Llama(Decoder):
    """The whole model: training, prefill, or decoding where the batch has a position and caches."""

    config: LlamaConfig

    def block(self) -> nn.Module:
        """A new block."""
        return Block(self.config)
