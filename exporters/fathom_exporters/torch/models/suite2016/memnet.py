"""memnet in PyTorch: the end-to-end memory network of :mod:`fathom_onnx.workloads.suite2016.memnet`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_onnx.workloads.suite2016.memnet import MemnetConfig

__all__ = ["MemoryNetwork", "position_encoding"]


def position_encoding(words: int, like: Tensor) -> Tensor:
    """The paper's l_kj for word j and component k, [words, embedding], as wide and of the type of ``like``."""
    size = like.shape[1]
    j = torch.arange(1, words + 1, dtype=like.dtype).unsqueeze(1) / words
    k = torch.arange(1, size + 1, dtype=like.dtype) / size
    return (1 - j) - k * (1 - 2 * j)


class Sentences(nn.Module):
    """Word ids [..., words] -> sentence vectors [..., embedding]: word vectors weighted by position and summed."""

    def __init__(self, config: MemnetConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.vocabulary, config.embedding))

    def forward(self, ids: Tensor) -> Tensor:
        return (F.embedding(ids, self.weight) * position_encoding(ids.shape[-1], self.weight)).sum(-2)


class StoryMemory(Sentences):
    """Stories [batch, memory, words] -> memory vectors [batch, memory, embedding], each with its temporal encoding."""

    def __init__(self, config: MemnetConfig) -> None:
        super().__init__(config)
        self.time = nn.Parameter(torch.zeros(config.memory, config.embedding))

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) + self.time


class Attention(nn.Module):
    """p = softmax(m u): state [batch, embedding], memory [batch, memory, embedding] -> [batch, memory]."""

    def forward(self, state: Tensor, memory: Tensor) -> Tensor:
        return torch.softmax(torch.bmm(memory, state.unsqueeze(2)).squeeze(2), 1)


class Read(nn.Module):
    """o = p c: weights [batch, memory], memory [batch, memory, embedding] -> [batch, embedding]."""

    def forward(self, weights: Tensor, memory: Tensor) -> Tensor:
        return torch.bmm(weights.unsqueeze(1), memory).squeeze(1)


class Update(nn.Module):
    """u' = H u + o, given H u."""

    def forward(self, state: Tensor, read: Tensor) -> Tensor:
        return state + read


class Hop(nn.Module):
    """One hop: attention over the memory, read, update of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.read, self.update = Attention(), Read(), Update()

    def forward(self, state: Tensor, memory_in: Tensor, memory_out: Tensor, linear: nn.Linear) -> Tensor:
        read = self.read(self.attention(state, memory_in), memory_out)
        updated: Tensor = self.update(linear(state), read)
        return updated


class MemoryNetwork(nn.Module):
    """The whole model: embed, read the memory once a hop, answer."""

    def __init__(self, config: MemnetConfig) -> None:
        super().__init__()
        self.query = Sentences(config)
        self.memory_in = StoryMemory(config)
        self.memory_out = StoryMemory(config)
        self.state = nn.Linear(config.embedding, config.embedding, bias=False)
        self.hops = config.hops
        for number in range(1, config.hops + 1):
            self.add_module(f"hop{number}", Hop())
        self.answer = nn.Linear(config.embedding, config.vocabulary, bias=False)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Stories and queries to the logits of the answer word, [batch, vocabulary]."""
        u = self.query(batch["queries"])
        memory_in, memory_out = self.memory_in(batch["stories"]), self.memory_out(batch["stories"])
        for number in range(1, self.hops + 1):
            u = self.get_submodule(f"hop{number}")(u, memory_in, memory_out, self.state)
        return {"logits": self.answer(u)}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Softmax cross-entropy, summed over the batch."""
        return F.cross_entropy(outputs["logits"], batch["answers"], reduction="sum")
