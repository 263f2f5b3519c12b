"""The parts of decoder language models in PyTorch (:mod:`fathom_onnx.workloads.suite2026.decoder`).

Between layers, tokens are rows: [batch * tokens, width].
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.torch.layers import Addition, constant
from fathom_onnx.workloads.suite2026.decoder import POSITION, DecoderConfig, rotary_frequencies

__all__ = ["AttentionPart", "Decoder", "RmsNorm"]


class RmsNorm(nn.Module):
    """``x / rms(x) * weight`` of rows [N, width]."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Rows to rows."""
        return x * torch.rsqrt((x * x).mean(1, keepdim=True) + self.epsilon) * self.weight


class Position(nn.Module):
    """The places of the tokens, [T]: all from 0 on, or the one of a decoding step; and the next place."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if index is None:
            return torch.arange(self.length), None
        return index.reshape(1), torch.where(index + 1 < self.length, index + 1, 0)


class Angles(nn.Module):
    """Cosine and sine of the rotary embedding's angles, [T, 1, size / 2] each, of the type of ``like``."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.frequencies = rotary_frequencies(config)

    def forward(self, places: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        angles = places.to(like.dtype).reshape(-1, 1, 1) * constant(self.frequencies, like)
        return angles.cos(), angles.sin()


class Mask(nn.Module):
    """Whether a token sees a place: places [T] -> [T, places]."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, places: Tensor) -> Tensor:
        return places.unsqueeze(1) >= torch.arange(self.length)


class Rotary(nn.Module):
    """Rotates the pairs (i, i + size / 2) of heads [batch, T, heads, size]."""

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class Cache(nn.Module):
    """Writes keys and values [batch, heads, 1, size] at a place of the caches [batch, heads, places, size]."""

    def forward(self, index: Tensor, new: Tensor, held: Tensor) -> Tensor:
        here = torch.arange(held.shape[2]) == index
        return torch.where(here.unsqueeze(1), new, held)


class Attention(nn.Module):
    """Grouped-query attention: query heads, one after the other, share a head of keys and values."""

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """[batch, T, heads, size], [batch, kv heads, places, size] twice, [T, places] -> rows [batch * T, width]."""
        batch, tokens, heads, size = query.shape
        groups, places = keys.shape[1], keys.shape[2]
        grouped = query.reshape(batch, tokens, groups, heads // groups, size).permute(0, 2, 3, 1, 4)
        scores = grouped.reshape(batch, groups, -1, size) @ keys.transpose(2, 3) * size**-0.5
        scores = scores.reshape(batch, groups, -1, tokens, places)
        weights = torch.softmax(torch.where(mask, scores, float("-inf")), -1)
        read = weights.reshape(batch, groups, -1, places) @ values
        read = read.reshape(batch, groups, -1, tokens, size).permute(0, 3, 1, 2, 4)
        return read.reshape(batch * tokens, heads * size)


class AttentionPart(nn.Module):
    """Base of a block: its attention, from rows to rows, with the keys and values that a cache holds after it."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.batch, self.heads, self.groups, self.size = c.batch, c.heads, c.kv_heads, c.width // c.heads
        self.attention_norm = RmsNorm(c.width, c.epsilon)
        self.query = nn.Linear(c.width, c.width, bias=False)
        self.key = nn.Linear(c.width, c.kv_heads * self.size, bias=False)
        self.value = nn.Linear(c.width, c.kv_heads * self.size, bias=False)
        self.rotary = Rotary()
        self.cache = Cache()
        self.attention = Attention()
        self.output = nn.Linear(c.width, c.width, bias=False)
        self.attention_add = Addition()

    def attend(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor,
        index: Tensor | None,
        held: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, angles, mask, and in decoding the place and the caches -> rows, keys and values."""
        normed = self.attention_norm(x)
        query = self.rotary(self.query(normed).reshape(self.batch, -1, self.heads, self.size), *angles)
        keys = self.rotary(self.key(normed).reshape(self.batch, -1, self.groups, self.size), *angles).transpose(1, 2)
        values = self.value(normed).reshape(self.batch, -1, self.groups, self.size).transpose(1, 2)
        if index is not None and held is not None:
            keys, values = self.cache(index, keys, held[0]), self.cache(index, values, held[1])
        read = self.output(self.attention(query, keys, values, mask))
        return self.attention_add(x, read), keys, values


class Decoder(nn.Module):
    """A whole model of blocks ``block1``, ``block2``, ..., which a subclass makes and runs."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocabulary, c.width)
        self.position = Position(c.length)
        self.angles = Angles(c)
        self.mask = Mask(c.length)
        for number in range(1, c.layers + 1):
            self.add_module(f"block{number}", self.block())
        self.norm = RmsNorm(c.width, c.epsilon)
        self.head = nn.Linear(c.width, c.vocabulary, bias=False)

    def block(self) -> nn.Module:
        """A new block."""
        raise NotImplementedError

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens [batch, T] to logits [batch, T, vocabulary] and what caches hold then; more of a block's results."""
        tokens, index = batch["tokens"], batch.get(POSITION)
        x = self.embedding(tokens.reshape(-1))
        places, following = self.position(index)
        angles, mask = self.angles(places, x), self.mask(places)
        made: dict[str, Tensor] = {} if following is None else {f"{POSITION}.next": following}
        suffix = "" if index is None else ".next"
        for number in range(1, self.config.layers + 1):
            names = [f"block{number}.cache.{part}" for part in ("keys", "values")]
            held = None if index is None else tuple(batch[name] for name in names)
            x, *further = self.get_submodule(f"block{number}")(x, angles, mask, index, held)
            made |= {f"{name}{suffix}": value for name, value in zip(names, further, strict=False)}
            made |= {f"block{number}.{name}": value for name, value in (further[2] if further[2:] else {}).items()}
        logits = self.head(self.norm(x))
        return {"logits": logits.reshape(*tokens.shape, -1), **made}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Mean softmax cross-entropy of the tokens after each."""
        logits = outputs["logits"]
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch["labels"].reshape(-1))
