"""seq2seq in JAX: the LSTM encoder and decoder with attention of :mod:`fathom_onnx.workloads.suite2016.seq2seq`.

How the steps are unrolled, and the sampled softmax: :mod:`fathom_exporters.shared.seq2seq`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.models.contract import Draw, Tensors, layer
from fathom_exporters.jax.models.layers import linear
from fathom_exporters.jax.models.tables import rows
from fathom_exporters.shared.seq2seq import ACCIDENTAL_HIT, expected_count_scale
from fathom_onnx.workloads.suite2016.seq2seq import GO, NO_WEIGHT, Seq2seqConfig

__all__ = ["forward", "loss", "sampled_logits"]

LSTMState = tuple[Array, Array]
"""h and c of one layer, each [B, hidden]."""


def _product(variables: Tensors, parameter: str, x: Array) -> Array:
    """``x W^T``; the caller enters the layer."""
    return x @ variables[parameter].T


def _bias(config: Seq2seqConfig, variables: Tensors, name: str) -> Array:
    """A layer's bias [4 * hidden] with the forget bias added to the forget gate's part, the second."""
    bias = variables[f"{name}.bias"]
    part = [0.0] * config.hidden
    return bias + jnp.array(part + [config.forget_bias] * config.hidden + part + part, bias.dtype)


def _embedding(variables: Tensors, name: str, ids: Array) -> Array:
    """Rows of a layer's table: ids [N] -> [N, embedding]."""
    with layer(name):
        return rows(variables[f"{name}.weight"], ids)


def _cell(gates: Array, c: Array | None) -> LSTMState:
    """The state after a step. gates [B, 4 * hidden]: input, forget, output, candidate; without c it was all zeros."""
    hidden = gates.shape[1] // 4
    sigmoid_part, candidate = jnp.split(gates, [3 * hidden], 1)
    i, f, o = jnp.split(marks.sigmoid(sigmoid_part), 3, 1)
    new = i * marks.tanh(candidate)
    if c is not None:
        new = f * c + new
    return o * marks.tanh(new), new


def encoder_lstm(
    config: Seq2seqConfig, variables: Tensors, name: str, x: Array, last_first: bool
) -> tuple[Array, LSTMState]:
    """One layer over all steps: [steps * B, in] -> h of every step in the order of computation, and the last state.

    The lowest layer reads the words last to first, so its outputs, which the next layer reads, are in that order.
    """
    with layer(name):
        inputs = _product(variables, f"{name}.input_weight", x) + _bias(config, variables, name)
        steps = jnp.split(inputs, config.source_length)
        outputs: list[Array] = []
        c = None
        for gates in reversed(steps) if last_first else steps:
            if outputs:
                gates = gates + _product(variables, f"{name}.hidden_weight", outputs[-1])
            h, c = _cell(gates, c)
            outputs.append(h)
        assert c is not None
        return jnp.concatenate(outputs), (outputs[-1], c)


def encode(config: Seq2seqConfig, variables: Tensors, source_ids: Array) -> tuple[Array, list[LSTMState]]:
    """Source ids [B, steps] -> the top layer's outputs [B, steps, hidden] and each layer's last state."""
    with layer("encoder.embedding"):
        ids = source_ids.T.reshape(-1)
    x = _embedding(variables, "encoder.embedding", ids)
    states = []
    for index in range(config.layers):
        x, state = encoder_lstm(config, variables, f"encoder.lstm{index + 1}", x, not index)
        states.append(state)
    with layer(f"encoder.lstm{config.layers}"):
        memory = x.reshape(config.source_length, config.batch, config.hidden).transpose(1, 0, 2)
    return memory, states


def attend(variables: Tensors, keys: Array, memory: Array, state: Array) -> Array:
    """Additive attention (Bahdanau et al. 2015): keys, memory [B, steps, hidden], state [B, hidden] -> [B, hidden]."""
    batch, steps, hidden = keys.shape
    with layer("attention.query"):
        query = _product(variables, "attention.query.weight", state)
    with layer("attention.score"):
        features = marks.tanh(keys + query[:, None]).reshape(batch * steps, hidden)
        scores = _product(variables, "attention.score.weight", features)
        weights = marks.softmax(scores.reshape(batch, 1, steps))
    with layer("attention.context"):
        return (weights @ memory).squeeze(1)


def word_gates(config: Seq2seqConfig, variables: Tensors, words: Array) -> Array:
    """The words' part of the first decoder layer's gates: [rows, embedding] -> [rows, 4 * hidden]."""
    with layer("decoder.input"):
        return _product(variables, "decoder.input.weight", words) + _bias(config, variables, "decoder.input")


def decoder_step(
    config: Seq2seqConfig, variables: Tensors, gates: Array, context: Array, states: list[LSTMState]
) -> list[LSTMState]:
    """The states after a step, from the words' gates and the context."""
    new: list[LSTMState] = []
    x = context
    for index, (h, c) in enumerate(states):
        name = f"decoder.lstm{index + 1}"
        with layer(name):
            # the first layer's bias comes with the words' part of its gates
            added = _bias(config, variables, name) if index else gates
            read = jnp.concatenate([x, h], 1)
            new.append(_cell(_product(variables, f"{name}.weight", read) + added, c))
        x = new[-1][0]
    return new


def sampled_logits(x: Array, weight: Array, bias: Array, labels: Array, sampled: Array, samples: int) -> Array:
    """The sampled softmax's logits [N, 1 + samples], the target's first.

    Shapes: x [N, hidden], weight [vocabulary, hidden], bias [vocabulary], target labels [N], sampled classes [samples].
    """
    ids = jnp.concatenate([labels, sampled])
    true_count = labels.shape[0]
    w_true, w_sampled = jnp.split(rows(weight, ids), [true_count])
    # log(1 + 1/rank) by Kahan's formula
    rank = ids.astype(x.dtype) + 1
    u = 1 + 1 / rank
    log_ratio = jnp.log(u) / ((u - 1) * rank)
    expected = log_ratio * expected_count_scale(samples, bias.shape[0])
    offsets = rows(bias, ids) - jnp.log(expected)
    b_true, b_sampled = jnp.split(offsets, [true_count])
    true = (x * w_true).sum(1) + b_true
    others = x @ w_sampled.T + b_sampled
    others = jnp.where(labels[:, None] == sampled, ACCIDENTAL_HIT, others)
    return jnp.concatenate([true[:, None], others], 1)


def _teacher_forced(
    config: Seq2seqConfig, variables: Tensors, batch: Tensors, keys: Array, memory: Array, states: list[LSTMState]
) -> dict[str, Array]:
    """The logits of every target word, each step given the word before it in the target."""
    with layer("decoder.embedding"):
        labels = batch["target_ids"].T.reshape(-1)
        start = jnp.full(config.batch, GO, labels.dtype)
        ids = jnp.concatenate([start, labels[: -config.batch]])
    gates = word_gates(config, variables, _embedding(variables, "decoder.embedding", ids))
    with layer("decoder.input"):
        gates_of_steps = jnp.split(gates, config.target_length)
    tops, contexts = [], []
    for step_gates in gates_of_steps:
        context = attend(variables, keys, memory, states[-1][0])
        states = decoder_step(config, variables, step_gates, context, states)
        tops.append(states[-1][0])
        contexts.append(context)
    with layer("decoder.output"):
        both = jnp.concatenate([jnp.concatenate(tops), jnp.concatenate(contexts)], 1)
    outputs = linear(variables, "decoder.output", both)
    with layer("projection"):
        weight, bias = variables["projection.weight"], variables["projection.bias"]
        logits = sampled_logits(outputs, weight, bias, labels, batch["sampled_ids"], config.samples)
    return {"logits": logits}


def _greedy(
    config: Seq2seqConfig, variables: Tensors, like: Array, keys: Array, memory: Array, states: list[LSTMState]
) -> dict[str, Array]:
    """Words and their logits, each step given the word that the step before has chosen."""
    with layer("decoder.embedding"):
        word = jnp.full(config.batch, GO, like.dtype)
    ids, scores = [], []
    for _ in range(config.target_length):
        gates = word_gates(config, variables, _embedding(variables, "decoder.embedding", word))
        context = attend(variables, keys, memory, states[-1][0])
        states = decoder_step(config, variables, gates, context, states)
        with layer("decoder.output"):
            both = jnp.concatenate([states[-1][0], context], 1)
        logits = linear(variables, "projection", linear(variables, "decoder.output", both))
        with layer("decoder.argmax"):
            word = logits.argmax(-1).astype(like.dtype)
            ids.append(word)
            scores.append(jnp.take_along_axis(logits, word[:, None], 1, mode="promise_in_bounds").squeeze(1))
    with layer("decoder.argmax"):
        shape = (config.target_length, config.batch)
        chosen, largest = (jnp.concatenate(part).reshape(shape).T for part in (ids, scores))
    return {"ids": chosen, "scores": largest}


def forward(
    config: Seq2seqConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Batch inputs to the sampled logits in training, to greedily chosen words in inference."""
    memory, states = encode(config, variables, batch["source_ids"])
    with layer("attention.keys"):  # the keys that the attention compares states with, once for all steps
        of_steps = memory.reshape(-1, config.hidden)
        keys = _product(variables, "attention.keys.weight", of_steps).reshape(memory.shape)
    if train:
        return _teacher_forced(config, variables, batch, keys, memory, states), {}
    return _greedy(config, variables, batch["source_ids"], keys, memory, states), {}


def loss(config: Seq2seqConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Cross-entropy of the targets: a weighted mean over a sentence's words, then the mean over sentences."""
    weights = batch["target_weights"].T
    entropy = -marks.log_softmax(outputs["logits"])[:, 0].reshape(weights.shape)
    return ((entropy * weights).sum(0) / (weights.sum(0) + NO_WEIGHT)).mean()
