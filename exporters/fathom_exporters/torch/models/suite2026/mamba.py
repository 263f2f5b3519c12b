"""mamba in PyTorch: the state space model Mamba-2 of :mod:`fathom_onnx.workloads.suite2026.mamba`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_onnx.workloads.suite2026.mamba import MambaConfig

__all__ = ["Mamba", "StateSpaceDuality", "segsum"]


def segsum(x: Tensor) -> Tensor:
    """Sums of segments (listing 1): x [..., T] -> [..., T, T] with ``x_(j+1) + ... + x_i`` at (i, j), -inf above."""
    steps = torch.arange(x.shape[-1])
    rows = x.unsqueeze(-1).expand(*x.shape, x.shape[-1])
    sums = rows.masked_fill(steps.unsqueeze(1) <= steps, 0).cumsum(-2)
    return sums.masked_fill(steps.unsqueeze(1) < steps, -torch.inf)


class StateSpaceDuality(nn.Module):
    """The recurrence ``state = exp(a) state + b x^T``, ``y = c^T state`` of every head, chunk by chunk (listing 1)."""

    def __init__(self, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk

    def forward(self, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Values x [N, T, heads, P], logs of decays a [N, T, heads], b and c [N, T, S] -> y [N, T, heads, P]."""
        n, length, heads, width = x.shape
        chunks, state = length // self.chunk, b.shape[-1]
        x = x.reshape(n, chunks, self.chunk, heads, width)
        a = a.reshape(n, chunks, self.chunk, heads).permute(0, 3, 1, 2)
        b, c = (t.reshape(n, chunks, self.chunk, state) for t in (b, c))
        sums = a.cumsum(-1)  # [N, heads, chunks, chunk]
        # 1. within each chunk: attention under the products of decays
        scores = torch.matmul(c, b.transpose(2, 3)).unsqueeze(1) * segsum(a).exp()
        within = torch.matmul(scores, x.permute(0, 3, 1, 2, 4))  # [N, heads, chunks, chunk, P]
        # 2. the state that each chunk adds
        to_end = (sums[..., -1:] - sums).exp().permute(0, 2, 3, 1).unsqueeze(4)
        decayed = (x * to_end).reshape(n, chunks, self.chunk, heads * width)
        states = torch.matmul(b.transpose(2, 3), decayed)  # [N, chunks, S, heads * P]
        # 3. the state that enters each chunk: of all before it
        between = segsum(F.pad(sums[..., -1], (1, 0))).exp()[..., :-1, 1:]
        states = states.reshape(n, chunks, state, heads, width).permute(0, 3, 1, 2, 4)
        entering = torch.matmul(between, states.reshape(n, heads, chunks, state * width))
        entering = entering.reshape(n, heads, chunks, state, width).permute(0, 2, 3, 1, 4)
        # 4. what each position reads from it
        read = torch.matmul(c, entering.reshape(n, chunks, state, heads * width))
        from_start = sums.exp().permute(0, 2, 3, 1).unsqueeze(4)
        across = read.reshape(n, chunks, self.chunk, heads, width) * from_start
        return (within.permute(0, 2, 3, 1, 4) + across).reshape(n, length, heads, width)


class Norm(nn.Module):
    """RMSNorm, ``weight * x / sqrt(mean(x^2) + epsilon)`` (Zhang and Sennrich 2019); of ``x silu(z)`` with a gate z."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        if gate is not None:
            x = x * F.silu(gate)
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.epsilon) * self.weight


class CausalConvolution(nn.Conv1d):
    """A depthwise convolution of [N, T, C] along T that sees no later position."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x.transpose(1, 2), (self.kernel_size[0] - 1, 0))).transpose(1, 2)


class Mixer(nn.Module):
    """[N, T, width] -> [N, T, width], position by position in the order of time."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        c = self.config = config
        self.in_proj = nn.Linear(c.width, c.inner + c.convolved + c.heads, bias=False)
        self.conv1d = CausalConvolution(c.convolved, c.kernel)
        self.act = nn.SiLU()
        self.dt_bias, self.A_log, self.D = (nn.Parameter(torch.zeros(c.heads)) for _ in range(3))
        self.ssd = StateSpaceDuality(c.chunk)
        self.norm = Norm(c.inner, c.epsilon)
        self.out_proj = nn.Linear(c.inner, c.width, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        c = self.config
        z, xbc, dt = self.in_proj(u).split([c.inner, c.convolved, c.heads], -1)
        x, b, read = self.act(self.conv1d(xbc)).split([c.inner, c.state, c.state], -1)
        x = x.reshape(*x.shape[:2], c.heads, c.head)
        dt = F.softplus(dt + self.dt_bias)
        y = self.ssd(x * dt.unsqueeze(3), -torch.exp(self.A_log) * dt, b, read)
        y = (y + x * self.D.unsqueeze(1)).flatten(2)
        mixed: Tensor = self.out_proj(self.norm(y, z))
        return mixed


class Add(nn.Module):
    """The residual addition."""

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return x + residual


class Block(nn.Module):
    """``x + mixer(norm(x))``."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.norm = Norm(config.width, config.epsilon)
        self.mixer = Mixer(config)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.add(self.mixer(self.norm(x)), x)
        return added


class Head(nn.Module):
    """Logits by the embedding's own weight."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)


class Mamba(nn.Module):
    """Tokens to the logits of the tokens that follow."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm_f = Norm(config.width, config.epsilon)
        self.lm_head = Head()

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens [N, T] to logits [N, T, vocabulary]."""
        x = self.embedding(batch["tokens"])
        for block in self.layers:
            x = block(x)
        return {"logits": self.lm_head(self.norm_f(x), self.embedding.weight)}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy over all positions."""
        return F.cross_entropy(outputs["logits"].flatten(0, 1), batch["labels"].flatten())
