"""mixtral in PyTorch: the decoder with experts of :mod:`fathom_onnx.workloads.suite2026.mixtral`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition
from fathom_onnx.workloads.suite2026.mixtral import CHOICES, MixtralConfig

from .decoder import AttentionPart, Decoder, RmsNorm
from .llama import SwiGlu

__all__ = ["Choice", "Mixtral"]


class Choice(nn.Module):
    """The experts of each token, its weights of them, and its slots there."""

    def __init__(self, experts: int, slots: int) -> None:
        super().__init__()
        self.experts, self.slots = experts, slots

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Router logits [N, E] -> probabilities [N, E], choices [N, 2, E], slots [N, 2, C], weights [N, 2, 1]."""
        probabilities = torch.softmax(logits, 1)
        best = torch.topk(probabilities.detach(), CHOICES).indices
        chosen = (best.unsqueeze(2) == torch.arange(self.experts)).to(logits.dtype)
        # who came before: all first choices, then the second ones, in the order of tokens
        in_turn = chosen.transpose(0, 1).reshape(-1, self.experts)
        before = ((torch.cumsum(in_turn, 0) - in_turn) * in_turn).sum(1)
        taken = before.reshape(CHOICES, -1).transpose(0, 1).unsqueeze(2)
        slots = (taken == torch.arange(self.slots, dtype=logits.dtype)).to(logits.dtype)
        weights = (probabilities.unsqueeze(1) * chosen).sum(2, keepdim=True)
        return probabilities, chosen, slots, weights / weights.sum(1, keepdim=True)


class Balance(nn.Module):
    """``E * sum_e f_e p_e``: how far the choices are from even, 1 where they are."""

    def forward(self, probabilities: Tensor, chosen: Tensor) -> Tensor:
        """Probabilities [N, E] and choices [N, 2, E] -> a scalar."""
        shares = chosen.mean((0, 1))
        return (shares * probabilities.mean(0)).sum() * chosen.shape[2]


class Dispatch(nn.Module):
    """Tokens to the slots of experts."""

    def forward(self, x: Tensor, chosen: Tensor, slots: Tensor) -> Tensor:
        """Rows [N, D], choices [N, 2, E], slots [N, 2, C] -> [E, C, D]."""
        placed = chosen.transpose(1, 2) @ slots
        rows = placed.reshape(len(x), -1).t() @ x
        return rows.reshape(chosen.shape[2], slots.shape[2], -1)


class ExpertLinear(nn.Module):
    """A linear layer of each expert: [E, C, in] -> [E, C, out]."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts, outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Each expert's rows by its own weight."""
        return x @ self.weight.transpose(1, 2)


class Combine(nn.Module):
    """What experts made of tokens, back to the tokens, weighted."""

    def forward(self, made: Tensor, chosen: Tensor, slots: Tensor, weights: Tensor) -> Tensor:
        """[E, C, D], choices [N, 2, E], slots [N, 2, C], weights [N, 2, 1] -> rows [N, D]."""
        placed = (chosen * weights).transpose(1, 2) @ slots
        return placed.reshape(len(chosen), -1) @ made.reshape(-1, made.shape[2])


class Block(AttentionPart):
    """Attention and a mixture of experts."""

    def __init__(self, c: MixtralConfig) -> None:
        super().__init__(c)
        self.feed_norm = RmsNorm(c.width, c.epsilon)
        self.router = nn.Linear(c.width, c.experts, bias=False)
        self.choice = Choice(c.experts, c.slots)
        self.balance = Balance()
        self.dispatch = Dispatch()
        self.gate = ExpertLinear(c.experts, c.width, c.hidden)
        self.up = ExpertLinear(c.experts, c.width, c.hidden)
        self.swiglu = SwiGlu()
        self.down = ExpertLinear(c.experts, c.hidden, c.width)
        self.combine = Combine()
        self.feed_add = Addition()

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor,
        index: Tensor | None,
        held: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """As :meth:`AttentionPart.attend`, the experts after it; and the block's ``balance``."""
        x, keys, values = self.attend(x, angles, mask, index, held)
        normed = self.feed_norm(x)
        probabilities, chosen, slots, weights = self.choice(self.router(normed))
        inputs = self.dispatch(normed, chosen, slots)
        made = self.down(self.swiglu(self.gate(inputs), self.up(inputs)))
        balance = self.balance(probabilities, chosen)
        return self.feed_add(x, self.combine(made, chosen, slots, weights)), keys, values, {"balance": balance}


class Mixtral(Decoder):
    """The whole model: training or prefill."""

    config: MixtralConfig

    def block(self) -> nn.Module:
        """A new block."""
        return Block(self.config)

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean softmax cross-entropy of the tokens after each, and the mean balance of the blocks."""
        blocks = range(1, self.config.layers + 1)
        balance = sum(outputs[f"block{number}.balance"] for number in blocks) / self.config.layers
        return super().loss(outputs, batch) + self.config.balance * balance
