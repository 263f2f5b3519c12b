"""Networks over sequences by hand, further zoo."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from ..first_parts.by_hand import classes, classified
from ..registry import BATCH, VOCABULARY, Zoo

__all__ = ["fill"]


class WaveNet(nn.Module):
    """Gated causal convolutions of growing dilation, with weight norms and skips."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(16, 8)
        self.gates = nn.ModuleList(weight_norm(nn.Conv1d(8, 16, 2, dilation=2**i)) for i in range(3))
        self.stays, self.skips = (nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3)) for _ in range(2))
        self.head = nn.Conv1d(8, 16, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids).transpose(1, 2)
        skipped: Any = 0
        for number, (gate, stay, skip) in enumerate(zip(self.gates, self.stays, self.skips, strict=True)):
            a, b = gate(F.pad(x, (2**number, 0))).chunk(2, 1)
            h = torch.tanh(a) * torch.sigmoid(b)
            x, skipped = x + stay(h), skipped + skip(h)
        return self.head(F.relu(skipped))


class TemporalConvolution(nn.Module):
    """A TCN: causal by cutting what stands out at the end, with dropout of whole channels."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.one = weight_norm(nn.Conv1d(4, 8, 3, padding=2))
        self.two = weight_norm(nn.Conv1d(8, 8, 3, padding=4, dilation=2))
        self.short, self.dropout, self.head = nn.Conv1d(4, 8, 1), nn.Dropout1d(dropout), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(F.relu(self.one(x)[..., :-2]))
        h = self.dropout(F.relu(self.two(h)[..., :-4]))
        return self.head(F.relu(h + self.short(x))[..., -1])


class Highway(nn.Module):
    """Layers that are let through by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.gates = (nn.ModuleList(nn.Linear(8, 8) for _ in range(3)) for _ in range(2))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer, gate in zip(self.layers, self.gates, strict=True):
            let = torch.sigmoid(gate(x) - 1)
            x = let * F.relu(layer(x)) + (1 - let) * x
        return self.head(x)


class ConvLstm(nn.Module):
    """An LSTM whose products are convolutions, over films."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = nn.Conv2d(1 + 4, 16, 3, padding=1), nn.Conv2d(4, 1, 1)

    def forward(self, film: Tensor) -> Tensor:
        h = c = film.new_zeros(len(film), 4, *film.shape[-2:])
        for frame in film.unbind(1):
            i, f, o, g = self.gates(torch.cat([frame, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)


class Translator(nn.Module):
    """A GRU that reads, a GRU cell that writes, with additive attention and teacher forcing."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 8, padding_idx=0)
        self.reader = nn.GRU(8, 8, batch_first=True, bidirectional=True)
        self.writer = nn.GRUCell(8 + 16, 8)
        self.from_state, self.from_memory, self.score = nn.Linear(8, 8), nn.Linear(16, 8), nn.Linear(8, 1)
        self.head = nn.Linear(8, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, last = self.reader(self.words(source))
        state, said = last.sum(0), []
        for word in self.words(target).unbind(1):
            score = self.score(torch.tanh(self.from_state(state)[:, None] + self.from_memory(memory)))
            score = score.masked_fill(source[..., None] == 0, float("-inf"))
            seen = (score.softmax(1) * memory).sum(1)
            state = self.writer(torch.cat([word, seen], 1), state)
            said.append(self.head(state))
        return torch.stack(said, 2)


class Recurrence(nn.Module):
    """Transformer-XL in small: attention over a memory that is not trained, with relative positions by a shift."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, 16), nn.Parameter(torch.randn(10, 16) * 0.1)
        self.q, self.kv, self.r = nn.Linear(16, 16), nn.Linear(16, 32), nn.Linear(16, 16, bias=False)
        self.u, self.v = nn.Parameter(torch.zeros(16)), nn.Parameter(torch.zeros(16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, VOCABULARY)

    def forward(self, ids: Tensor, memory: Tensor) -> Tensor:
        x = self.words(ids)
        count, total = x.shape[1], x.shape[1] + memory.shape[1]
        k, v = self.kv(torch.cat([memory.detach(), x], 1)).chunk(2, -1)
        q = self.q(x)
        content = (q + self.u) @ k.transpose(1, 2)
        place = (q + self.v) @ self.r(self.places[:total]).t()
        place = F.pad(place, (1, 0)).view(len(x), total + 1, count)[:, 1:].view(len(x), count, total)
        later = torch.ones(count, total, dtype=torch.bool).triu(1 + memory.shape[1])
        scores = ((content + place) / 4).masked_fill(later, float("-inf"))
        return self.head(self.norm(x + scores.softmax(-1) @ v))


class LinearAttention(nn.Module):
    """Performer: attention through positive random features; causal by a running sum."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.qkv = nn.Embedding(VOCABULARY, 16), nn.Linear(16, 48)
        self.register_buffer("features", torch.randn(16, 8))
        self.head = nn.Linear(16, VOCABULARY)

    def mapped(self, x: Tensor) -> Tensor:
        """Features whose products are near a softmax's."""
        x = x / 2
        return torch.exp(x @ self.features - x.pow(2).sum(-1, keepdim=True) / 2 - 1.0) + 1e-4

    def forward(self, ids: Tensor) -> Tensor:
        q, k, v = self.qkv(self.words(ids)).chunk(3, -1)
        q, k = self.mapped(q), self.mapped(k)
        running = torch.einsum("blf,bld->blfd", k, v).cumsum(1)
        norm = torch.einsum("blf,blf->bl", q, k.cumsum(1))
        return self.head(torch.einsum("blf,blfd->bld", q, running) / norm[..., None])


class Receptance(nn.Module):
    """RWKV's time mixing as a loop over places, with a running maximum for the exponentials."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(VOCABULARY, 8), nn.Linear(8, VOCABULARY)
        self.decay, self.first = nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(8))
        self.r, self.k, self.v = (nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        mixed = (x + F.pad(x, (0, 0, 1, -1))) / 2
        r, k, v = self.r(mixed).sigmoid(), self.k(mixed), self.v(x)
        a = b = torch.zeros_like(k[:, 0])
        top = torch.full_like(a, -1e38)
        said = []
        for place in range(x.shape[1]):
            now = torch.maximum(top, self.first + k[:, place])
            old, new = torch.exp(top - now), torch.exp(self.first + k[:, place] - now)
            said.append((old * a + new * v[:, place]) / (old * b + new))
            now = torch.maximum(top - self.decay.exp(), k[:, place])
            old, new = torch.exp(top - self.decay.exp() - now), torch.exp(k[:, place] - now)
            a, b, top = old * a + new * v[:, place], old * b + new, now
        return self.head(r * torch.stack(said, 1))


class DiagonalStates(nn.Module):
    """S4D: a state space as a long convolution, by the Fourier transform or by a product.

    Args:
        fourier: Whether the convolution goes through ``torch.fft``.
    """

    def __init__(self, fourier: bool) -> None:
        super().__init__()
        self.fourier = fourier
        self.enter, self.leave = nn.Linear(3, 8), nn.Linear(8, 5)
        self.rate, self.turn = nn.Parameter(torch.rand(8, 4)), nn.Parameter(torch.rand(8, 4) * 3)
        self.mix, self.skip = nn.Parameter(torch.randn(8, 4) / 2), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        u = self.enter(x).transpose(1, 2)
        length = u.shape[-1]
        times = torch.arange(length).to(u.dtype)
        waves = torch.exp(-self.rate.exp()[..., None] * times * 0.1) * torch.cos(self.turn[..., None] * times)
        kernel = (self.mix[..., None] * waves).sum(1)
        if self.fourier:
            spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(kernel, n=2 * length)
            y = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
        else:
            y = F.conv1d(F.pad(u, (length - 1, 0)), kernel.flip(-1)[:, None], groups=8)
        return self.leave(F.gelu(y + self.skip[:, None] * u).mean(-1))


class SelectiveScan(nn.Module):
    """Mamba's recurrence as a loop, its matrices made from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 8), nn.Linear(8, 5)
        self.rates = nn.Parameter(torch.arange(1.0, 5).repeat(8, 1).log())
        self.step, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        u = F.silu(self.enter(x))
        step, b, c = F.softplus(self.step(u)), self.b(u), self.c(u)
        state = u.new_zeros(len(u), 8, 4)
        said = []
        for t in range(u.shape[1]):
            kept = torch.exp(-step[:, t, :, None] * self.rates.exp())
            state = kept * state + (step[:, t] * u[:, t])[..., None] * b[:, t, None]
            said.append((state * c[:, t, None]).sum(-1))
        return self.leave(torch.stack(said, 1)[:, -1])


class Tagger(nn.Module):
    """A linear-chain conditional random field over an LSTM: a sum over all paths in logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.rnn = nn.Embedding(VOCABULARY, 8), nn.LSTM(8, 8, batch_first=True)
        self.head, self.moves = nn.Linear(8, 5), nn.Parameter(torch.randn(5, 5) * 0.1)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.rnn(self.words(ids))[0]), self.moves


def _paths(outputs: Any, batch: Any) -> Tensor:
    emissions, moves = outputs
    alpha = emissions[:, 0]
    for emission in emissions.unbind(1)[1:]:
        alpha = torch.logsumexp(alpha[:, :, None] + moves + emission[:, None], 1)
    labels = batch["labels"]
    chosen = emissions.gather(2, labels[..., None]).sum((1, 2)) + moves[labels[:, :-1], labels[:, 1:]].sum(1)
    return (torch.logsumexp(alpha, 1) - chosen).mean()


class NeuralOde(nn.Module):
    """A differential equation in four steps of Runge and Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.field, self.head = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4)), nn.Linear(4, 5)

    def slope(self, time: float, x: Tensor) -> Tensor:
        """The derivative at a time."""
        return self.field(torch.cat([x, torch.full_like(x[:, :1], time)], 1))

    def forward(self, x: Tensor) -> Tensor:
        h = 0.25
        for step in range(4):
            t = step * h
            a = self.slope(t, x)
            b = self.slope(t + h / 2, x + h / 2 * a)
            c = self.slope(t + h / 2, x + h / 2 * b)
            d = self.slope(t + h, x + h * c)
            x = x + h / 6 * (a + 2 * b + 2 * c + d)
        return self.head(x)


class Spectrogram(nn.Module):
    """A classifier of sounds over their spectra.

    Args:
        fourier: Whether by ``torch.stft``, or by products with cosines and sines that are buffers.
    """

    def __init__(self, fourier: bool) -> None:
        super().__init__()
        self.fourier = fourier
        self.head = nn.Linear(9, 5)
        angles = 2 * torch.pi * torch.outer(torch.arange(9), torch.arange(16)) / 16
        waves = torch.cat([angles.cos(), -angles.sin()]) * torch.hann_window(16)
        self.register_buffer("waves", waves[:, None])

    def forward(self, x: Tensor) -> Tensor:
        if self.fourier:
            size = torch.stft(x, 16, 8, window=torch.hann_window(16).to(x.dtype), return_complex=True).abs()
        else:
            padded = F.pad(x[:, None], (8, 8), mode="reflect")
            real, imaginary = F.conv1d(padded, self.waves, stride=8).chunk(2, 1)
            size = (real.pow(2) + imaginary.pow(2)).sqrt()
        return self.head(size.add(1e-3).log().mean(-1))


class RealRotation(nn.Module):
    """Rotary positions by cosines and sines: the complex product written out."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        rates = 10000 ** -(torch.arange(8) / 8)
        angles = torch.outer(torch.arange(x.shape[1]), rates).to(x.dtype)
        cos, sin = angles.cos(), angles.sin()

        def turned(rows: Tensor) -> Tensor:
            a, b = rows.unflatten(-1, (8, 2)).unbind(-1)
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

        attended = F.scaled_dot_product_attention(turned(self.q(x)), turned(self.k(x)), x, is_causal=True)
        return self.head(attended).mean(1)


def fill(zoo: Zoo) -> None:
    """Add them."""
    turned = lambda o, b: classified(o.transpose(1, 2), b)  # noqa: E731
    zoo.by_hand("wavenet", WaveNet, lambda: _words(16), classified)
    zoo.with_dropout("tcn", TemporalConvolution, classes("x", BATCH, 4, 12), classified)
    zoo.by_hand("highway", Highway, classes("x", 4, 8), classified)
    zoo.by_hand(
        "conv-lstm",
        ConvLstm,
        lambda: {"film": torch.rand(BATCH, 4, 1, 8, 8), "next": torch.rand(BATCH, 1, 8, 8)},
        lambda o, b: F.mse_loss(o, b["next"]),
    )
    zoo.by_hand("bahdanau", Translator, _sentences, lambda o, b: F.cross_entropy(o, b["labels"], ignore_index=0))
    zoo.by_hand("transformer-xl", Recurrence, lambda: {**_words(), "memory": torch.randn(BATCH, 4, 16)}, turned)
    zoo.by_hand("linear-attention", LinearAttention, _words, turned)
    zoo.by_hand("rwkv-loop", Receptance, _words, turned)
    zoo.by_hand("s4d-fourier", partial(DiagonalStates, True), classes("x", BATCH, 12, 3), classified)
    zoo.by_hand("s4d-convolution", partial(DiagonalStates, False), classes("x", BATCH, 12, 3), classified)
    zoo.by_hand("selective-scan", SelectiveScan, classes("x", BATCH, 6, 3), classified)
    zoo.by_hand("lstm-crf", Tagger, lambda: {**_words(), "labels": torch.randint(0, 5, (BATCH, 6))}, _paths)
    zoo.by_hand("neural-ode", NeuralOde, classes("x", 4, 4), classified)
    zoo.by_hand("spectrogram", partial(Spectrogram, True), classes("x", BATCH, 64), classified)
    zoo.by_hand("spectrogram-products", partial(Spectrogram, False), classes("x", BATCH, 64), classified)
    zoo.by_hand("real-rotation", RealRotation, classes("x", BATCH, 6, 16, count=3), classified)


def _words(count: int = VOCABULARY) -> dict[str, Tensor]:
    return {"ids": torch.randint(0, count, (BATCH, 6)), "labels": torch.randint(0, count, (BATCH, 6))}


def _sentences() -> dict[str, Tensor]:
    source = torch.randint(1, VOCABULARY, (BATCH, 5))
    source[1, 3:] = 0
    target = torch.randint(1, VOCABULARY, (BATCH, 4))
    return {"source": source, "target": target, "labels": torch.randint(0, VOCABULARY, (BATCH, 4))}
