"""seq2seq in PyTorch: the LSTM encoder and decoder with attention of :mod:`fathom_onnx.workloads.suite2016.seq2seq`.

How the steps are unrolled, and the sampled softmax: :mod:`fathom_exporters.shared.seq2seq`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fathom_exporters.shared.seq2seq import ACCIDENTAL_HIT, expected_count_scale
from fathom_onnx.workloads.suite2016.seq2seq import GO, NO_WEIGHT, Seq2seqConfig

__all__ = ["Seq2seq", "sampled_logits"]

LSTMState = tuple[Tensor, Tensor]
"""h and c of one layer, each [B, hidden]."""


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def _with_forget_bias(bias: Tensor, forget_bias: float) -> Tensor:
    """``bias`` [4 * hidden] with ``forget_bias`` added to the forget gate's part, the second."""
    part = len(bias) // 4
    zeros = bias.new_zeros(part)
    return bias + torch.cat([zeros, bias.new_full((part,), forget_bias), zeros, zeros])


def _cell(gates: Tensor, c: Tensor | None) -> LSTMState:
    """The state after a step. gates [B, 4 * hidden]: input, forget, output, candidate; without c it was all zeros."""
    hidden = gates.shape[1] // 4
    sigmoid_part, candidate = gates.split([3 * hidden, hidden], 1)
    i, f, o = torch.sigmoid(sigmoid_part).split(hidden, 1)
    new = i * torch.tanh(candidate)
    if c is not None:
        new = f * c + new
    return o * torch.tanh(new), new


class EncoderLSTM(nn.Module):
    """One layer over all steps: [steps * B, in] -> h of every step in the order of computation, and the last state.

    The lowest layer reads the words last to first, so its outputs, which the next layer reads, are in that order.
    """

    def __init__(self, reads: int, hidden: int, forget_bias: float, last_first: bool) -> None:
        super().__init__()
        self.input_weight = _parameter(4 * hidden, reads)
        self.hidden_weight = _parameter(4 * hidden, hidden)
        self.bias = _parameter(4 * hidden)
        self.forget_bias, self.last_first = forget_bias, last_first

    def forward(self, x: Tensor, batch: int) -> tuple[Tensor, LSTMState]:
        inputs = x @ self.input_weight.t() + _with_forget_bias(self.bias, self.forget_bias)
        steps = inputs.split(batch)
        outputs: list[Tensor] = []
        c = None
        for gates in reversed(steps) if self.last_first else steps:
            if outputs:
                gates = gates + outputs[-1] @ self.hidden_weight.t()
            h, c = _cell(gates, c)
            outputs.append(h)
        assert c is not None
        return torch.cat(outputs), (outputs[-1], c)


class Encoder(nn.Module):
    """Source ids [B, steps] -> the top layer's outputs [B, steps, hidden] and each layer's last state."""

    def __init__(self, config: Seq2seqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        for index in range(config.layers):
            reads = config.hidden if index else config.embedding
            self.add_module(f"lstm{index + 1}", EncoderLSTM(reads, config.hidden, config.forget_bias, not index))
        self.layers = config.layers

    def forward(self, source_ids: Tensor) -> tuple[Tensor, list[LSTMState]]:
        x = self.embedding(source_ids.t().flatten())
        states = []
        for index in range(self.layers):
            x, state = self.get_submodule(f"lstm{index + 1}")(x, source_ids.shape[0])
            states.append(state)
        return x.unflatten(0, source_ids.shape[::-1]).transpose(0, 1), states


class Keys(nn.Module):
    """The keys that the attention compares states with: memory [B, steps, hidden] -> [B, steps, hidden]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = _parameter(hidden, hidden)

    def forward(self, memory: Tensor) -> Tensor:
        return (memory.flatten(0, 1) @ self.weight.t()).view(memory.shape)


class Score(nn.Module):
    """keys [B, steps, hidden], query [B, hidden] -> weights [B, 1, steps] that sum to 1."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = _parameter(1, hidden)

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        batch, steps, _ = keys.shape
        scores = torch.tanh(keys + query.unsqueeze(1)).flatten(0, 1) @ self.weight.t()
        return torch.softmax(scores.view(batch, 1, steps), 2)


class Context(nn.Module):
    """weights [B, 1, steps], memory [B, steps, hidden] -> their weighted sum [B, hidden]."""

    def forward(self, weights: Tensor, memory: Tensor) -> Tensor:
        return torch.bmm(weights, memory).squeeze(1)


class Attention(nn.Module):
    """Additive attention (Bahdanau et al. 2015). ``keys`` is applied to the memory once, the rest at every step."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.keys = Keys(hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.score = Score(hidden)
        self.context = Context()

    def forward(self, keys: Tensor, memory: Tensor, state: Tensor) -> Tensor:
        context: Tensor = self.context(self.score(keys, self.query(state)), memory)
        return context


class WordGates(nn.Module):
    """The words' part of the first decoder layer's gates: [rows, embedding] -> [rows, 4 * hidden]."""

    def __init__(self, config: Seq2seqConfig) -> None:
        super().__init__()
        self.weight = _parameter(4 * config.hidden, config.embedding)
        self.bias = _parameter(4 * config.hidden)
        self.forget_bias = config.forget_bias

    def forward(self, words: Tensor) -> Tensor:
        return words @ self.weight.t() + _with_forget_bias(self.bias, self.forget_bias)


class DecoderCell(nn.Module):
    """One step of one layer. The first layer is given the words' part of its gates, which includes the bias."""

    def __init__(self, hidden: int, forget_bias: float, bias: bool) -> None:
        super().__init__()
        self.weight = _parameter(4 * hidden, 2 * hidden)
        self.bias = _parameter(4 * hidden) if bias else None
        self.forget_bias = forget_bias

    def forward(self, x: Tensor, state: LSTMState, gates: Tensor | None = None) -> LSTMState:
        h, c = state
        if self.bias is not None:
            gates = _with_forget_bias(self.bias, self.forget_bias)
        assert gates is not None
        return _cell(torch.cat([x, h], 1) @ self.weight.t() + gates, c)


class ArgMax(nn.Module):
    """Logits [B, vocabulary] -> ids [B]."""

    def forward(self, logits: Tensor) -> Tensor:
        return torch.argmax(logits, -1)


class Decoder(nn.Module):
    """The layers of the decoder; :class:`Seq2seq` runs its steps."""

    def __init__(self, config: Seq2seqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.input = WordGates(config)
        for index in range(config.layers):
            self.add_module(f"lstm{index + 1}", DecoderCell(config.hidden, config.forget_bias, bias=index > 0))
        self.output = nn.Linear(2 * config.hidden, config.hidden)
        self.argmax = ArgMax()
        self.layers = config.layers

    def step(self, gates: Tensor, context: Tensor, states: list[LSTMState]) -> list[LSTMState]:
        """The states after a step, from the words' gates and the context."""
        new = [self.get_submodule("lstm1")(context, states[0], gates)]
        for index in range(1, self.layers):
            new.append(self.get_submodule(f"lstm{index + 1}")(new[-1][0], states[index]))
        return new


def sampled_logits(x: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, sampled: Tensor, samples: int) -> Tensor:
    """The sampled softmax's logits [N, 1 + samples], the target's first.

    Shapes: x [N, hidden], weight [vocabulary, hidden], bias [vocabulary], target labels [N], sampled classes [samples].
    """
    ids = torch.cat([labels, sampled])
    sizes = [len(labels), samples]
    w_true, w_sampled = F.embedding(ids, weight).split(sizes)
    # log(1 + 1/rank) by Kahan's formula
    rank = ids.to(x.dtype) + 1
    u = 1 + 1 / rank
    log_ratio = torch.log(u) / ((u - 1) * rank)
    expected = log_ratio * expected_count_scale(samples, len(bias))
    offsets = F.embedding(ids, bias.unsqueeze(1)).squeeze(1) - torch.log(expected)
    b_true, b_sampled = offsets.split(sizes)
    true = (x * w_true).sum(1) + b_true
    others = x @ w_sampled.t() + b_sampled
    others = torch.where(labels.unsqueeze(1) == sampled, ACCIDENTAL_HIT, others)
    return torch.cat([true.unsqueeze(1), others], 1)


class Projection(nn.Module):
    """Logits of the whole vocabulary or, given labels, of the target and the sampled classes."""

    def __init__(self, config: Seq2seqConfig) -> None:
        super().__init__()
        self.weight = _parameter(config.vocabulary, config.hidden)
        self.bias = _parameter(config.vocabulary)
        self.samples = config.samples

    def forward(self, x: Tensor, labels: Tensor | None = None, sampled: Tensor | None = None) -> Tensor:
        if labels is None or sampled is None:
            return F.linear(x, self.weight, self.bias)
        return sampled_logits(x, self.weight, self.bias, labels, sampled, self.samples)


class Seq2seq(nn.Module):
    """The whole model: teacher forcing in training, greedy decoding in inference."""

    def __init__(self, config: Seq2seqConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.attention = Attention(config.hidden)
        self.decoder = Decoder(config)
        self.projection = Projection(config)
        self.batch, self.steps = config.batch, config.target_length

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch inputs to the sampled logits in training, to greedily chosen words in inference."""
        memory, states = self.encoder(batch["source_ids"])
        keys = self.attention.keys(memory)
        if self.training:
            return self._teacher_forced(batch, keys, memory, states)
        return self._greedy(keys, memory, states, batch["source_ids"])

    def _teacher_forced(
        self, batch: Mapping[str, Tensor], keys: Tensor, memory: Tensor, states: list[LSTMState]
    ) -> dict[str, Tensor]:
        """The logits of every target word, each step given the word before it in the target."""
        labels = batch["target_ids"].t().flatten()
        start = torch.full((self.batch,), GO, dtype=labels.dtype)
        words = self.decoder.embedding(torch.cat([start, labels[: -self.batch]]))
        tops, contexts = [], []
        for gates in self.decoder.input(words).split(self.batch):
            context = self.attention(keys, memory, states[-1][0])
            states = self.decoder.step(gates, context, states)
            tops.append(states[-1][0])
            contexts.append(context)
        outputs = self.decoder.output(torch.cat([torch.cat(tops), torch.cat(contexts)], 1))
        return {"logits": self.projection(outputs, labels, batch["sampled_ids"])}

    def _greedy(self, keys: Tensor, memory: Tensor, states: list[LSTMState], like: Tensor) -> dict[str, Tensor]:
        """Words and their logits, each step given the word that the step before has chosen."""
        word = torch.full((self.batch,), GO, dtype=like.dtype)
        ids, scores = [], []
        for _ in range(self.steps):
            gates = self.decoder.input(self.decoder.embedding(word))
            context = self.attention(keys, memory, states[-1][0])
            states = self.decoder.step(gates, context, states)
            logits = self.projection(self.decoder.output(torch.cat([states[-1][0], context], 1)))
            word = self.decoder.argmax(logits)
            ids.append(word)
            scores.append(logits.gather(1, word.unsqueeze(1)).squeeze(1))
        shape = (self.steps, self.batch)
        return {"ids": torch.cat(ids).view(shape).t(), "scores": torch.cat(scores).view(shape).t()}

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the targets: a weighted mean over a sentence's words, then the mean over sentences."""
        weights = batch["target_weights"].t()
        entropy = -torch.log_softmax(outputs["logits"], 1)[:, 0].view(weights.shape)
        return ((entropy * weights).sum(0) / (weights.sum(0) + NO_WEIGHT)).mean()
