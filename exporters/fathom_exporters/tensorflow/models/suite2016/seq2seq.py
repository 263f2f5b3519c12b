"""seq2seq in TensorFlow: the LSTM encoder and decoder with attention of :mod:`fathom_onnx.workloads.suite2016.seq2seq`.

How the steps are unrolled, and the sampled softmax: :mod:`fathom_exporters.shared.seq2seq`.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from fathom_exporters.shared.seq2seq import ACCIDENTAL_HIT, expected_count_scale
from fathom_exporters.tensorflow.layers import linear
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.seq2seq import GO, NO_WEIGHT, Seq2seqConfig

__all__ = ["forward", "loss", "sampled_logits"]

LSTMState = tuple[tf.Tensor, tf.Tensor]
"""h and c of one layer, each [B, hidden]."""


def _product(net: Net, parameter: str, x: tf.Tensor) -> tf.Tensor:
    """``x W^T``; the caller enters the scope."""
    return tf.matmul(x, net.variables[parameter], transpose_b=True)


def _bias(net: Net, config: Seq2seqConfig, name: str) -> tf.Tensor:
    """A layer's bias [4 * hidden] with the forget bias added to the forget gate's part, the second."""
    bias = net.variables[f"{name}.bias"]
    part = [0.0] * config.hidden
    return bias + tf.constant(part + [config.forget_bias] * config.hidden + part + part, bias.dtype)


def _embedding(net: Net, name: str, ids: tf.Tensor) -> tf.Tensor:
    """Rows of a layer's table: ids [N] -> [N, embedding]."""
    with net.scope(name):
        return tf.gather(net.variables[f"{name}.weight"], ids)


def _cell(gates: tf.Tensor, c: tf.Tensor | None) -> LSTMState:
    """The state after a step. gates [B, 4 * hidden]: input, forget, output, candidate; without c it was all zeros."""
    hidden = gates.shape[1] // 4
    sigmoid_part, candidate = tf.split(gates, [3 * hidden, hidden], 1)
    i, f, o = tf.split(tf.sigmoid(sigmoid_part), 3, 1)
    new = i * tf.tanh(candidate)
    if c is not None:
        new = f * c + new
    return o * tf.tanh(new), new


def encoder_lstm(
    net: Net, config: Seq2seqConfig, name: str, x: tf.Tensor, last_first: bool
) -> tuple[tf.Tensor, LSTMState]:
    """One layer over all steps: [steps * B, in] -> h of every step in the order of computation, and the last state.

    The lowest layer reads the words last to first, so its outputs, which the next layer reads, are in that order.
    """
    with net.scope(name):
        inputs = _product(net, f"{name}.input_weight", x) + _bias(net, config, name)
        steps = tf.split(inputs, config.source_length)
        outputs: list[tf.Tensor] = []
        c = None
        for gates in reversed(steps) if last_first else steps:
            if outputs:
                gates = gates + _product(net, f"{name}.hidden_weight", outputs[-1])
            h, c = _cell(gates, c)
            outputs.append(h)
        return tf.concat(outputs, 0), (outputs[-1], c)


def encode(net: Net, config: Seq2seqConfig, source_ids: tf.Tensor) -> tuple[tf.Tensor, list[LSTMState]]:
    """Source ids [B, steps] -> the top layer's outputs [B, steps, hidden] and each layer's last state."""
    with net.scope("encoder.embedding"):
        ids = tf.reshape(tf.transpose(source_ids), [-1])
    x = _embedding(net, "encoder.embedding", ids)
    states = []
    for index in range(config.layers):
        x, state = encoder_lstm(net, config, f"encoder.lstm{index + 1}", x, not index)
        states.append(state)
    with net.scope(f"encoder.lstm{config.layers}"):
        memory = tf.transpose(tf.reshape(x, (config.source_length, config.batch, config.hidden)), (1, 0, 2))
    return memory, states


def attend(net: Net, keys: tf.Tensor, memory: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """Additive attention (Bahdanau et al. 2015): keys, memory [B, steps, hidden], state [B, hidden] -> [B, hidden]."""
    batch, steps, hidden = keys.shape
    with net.scope("attention.query"):
        query = _product(net, "attention.query.weight", state)
    with net.scope("attention.score"):
        features = tf.reshape(tf.tanh(keys + tf.expand_dims(query, 1)), (batch * steps, hidden))
        scores = _product(net, "attention.score.weight", features)
        weights = tf.nn.softmax(tf.reshape(scores, (batch, 1, steps)))
    with net.scope("attention.context"):
        return tf.squeeze(tf.matmul(weights, memory), 1)


def word_gates(net: Net, config: Seq2seqConfig, words: tf.Tensor) -> tf.Tensor:
    """The words' part of the first decoder layer's gates: [rows, embedding] -> [rows, 4 * hidden]."""
    with net.scope("decoder.input"):
        return _product(net, "decoder.input.weight", words) + _bias(net, config, "decoder.input")


def decoder_step(
    net: Net, config: Seq2seqConfig, gates: tf.Tensor, context: tf.Tensor, states: list[LSTMState]
) -> list[LSTMState]:
    """The states after a step, from the words' gates and the context."""
    new: list[LSTMState] = []
    x = context
    for index, (h, c) in enumerate(states):
        name = f"decoder.lstm{index + 1}"
        with net.scope(name):
            # the first layer's bias comes with the words' part of its gates
            added = _bias(net, config, name) if index else gates
            new.append(_cell(_product(net, f"{name}.weight", tf.concat([x, h], 1)) + added, c))
        x = new[-1][0]
    return new


def sampled_logits(
    x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor, sampled: tf.Tensor, samples: int
) -> tf.Tensor:
    """The sampled softmax's logits [N, 1 + samples], the target's first.

    Shapes: x [N, hidden], weight [vocabulary, hidden], bias [vocabulary], target labels [N], sampled classes [samples].
    """
    ids = tf.concat([labels, sampled], 0)
    sizes = [labels.shape[0], samples]
    w_true, w_sampled = tf.split(tf.gather(weight, ids), sizes)
    # log(1 + 1/rank) by Kahan's formula
    rank = tf.cast(ids, x.dtype) + 1
    u = 1 + 1 / rank
    log_ratio = tf.math.log(u) / ((u - 1) * rank)
    expected = log_ratio * expected_count_scale(samples, bias.shape[0])
    offsets = tf.gather(bias, ids) - tf.math.log(expected)
    b_true, b_sampled = tf.split(offsets, sizes)
    true = tf.reduce_sum(x * w_true, 1) + b_true
    others = tf.matmul(x, w_sampled, transpose_b=True) + b_sampled
    others = tf.where(tf.equal(tf.expand_dims(labels, 1), sampled), tf.constant(ACCIDENTAL_HIT, x.dtype), others)
    return tf.concat([tf.expand_dims(true, 1), others], 1)


def _teacher_forced(
    net: Net,
    config: Seq2seqConfig,
    batch: Mapping[str, tf.Tensor],
    keys: tf.Tensor,
    memory: tf.Tensor,
    states: list[LSTMState],
) -> dict[str, tf.Tensor]:
    """The logits of every target word, each step given the word before it in the target."""
    with net.scope("decoder.embedding"):
        labels = tf.reshape(tf.transpose(batch["target_ids"]), [-1])
        start = tf.fill([config.batch], tf.constant(GO, labels.dtype))
        ids = tf.concat([start, labels[: -config.batch]], 0)
    gates = word_gates(net, config, _embedding(net, "decoder.embedding", ids))
    with net.scope("decoder.input"):
        gates_of_steps = tf.split(gates, config.target_length)
    tops, contexts = [], []
    for step_gates in gates_of_steps:
        context = attend(net, keys, memory, states[-1][0])
        states = decoder_step(net, config, step_gates, context, states)
        tops.append(states[-1][0])
        contexts.append(context)
    with net.scope("decoder.output"):
        both = tf.concat([tf.concat(tops, 0), tf.concat(contexts, 0)], 1)
    outputs = linear(net, "decoder.output", both)
    with net.scope("projection"):
        weight, bias = net.variables["projection.weight"], net.variables["projection.bias"]
        logits = sampled_logits(outputs, weight, bias, labels, batch["sampled_ids"], config.samples)
    return {"logits": logits}


def _greedy(
    net: Net, config: Seq2seqConfig, keys: tf.Tensor, memory: tf.Tensor, states: list[LSTMState]
) -> dict[str, tf.Tensor]:
    """Words and their logits, each step given the word that the step before has chosen."""
    with net.scope("decoder.embedding"):
        word = tf.fill([config.batch], tf.constant(GO, tf.int64))
    ids, scores = [], []
    for _ in range(config.target_length):
        gates = word_gates(net, config, _embedding(net, "decoder.embedding", word))
        context = attend(net, keys, memory, states[-1][0])
        states = decoder_step(net, config, gates, context, states)
        with net.scope("decoder.output"):
            both = tf.concat([states[-1][0], context], 1)
        logits = linear(net, "projection", linear(net, "decoder.output", both))
        with net.scope("decoder.argmax"):
            word = tf.argmax(logits, axis=-1)
            ids.append(word)
            scores.append(tf.gather(logits, word, batch_dims=1))
    with net.scope("decoder.argmax"):
        shape = (config.target_length, config.batch)
        chosen, largest = (tf.transpose(tf.reshape(tf.concat(part, 0), shape)) for part in (ids, scores))
    return {"ids": chosen, "scores": largest}


def forward(net: Net, config: Seq2seqConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Batch inputs to the sampled logits in training, to greedily chosen words in inference."""
    memory, states = encode(net, config, batch["source_ids"])
    with net.scope("attention.keys"):  # the keys that the attention compares states with, once for all steps
        rows = tf.reshape(memory, (-1, config.hidden))
        keys = tf.reshape(_product(net, "attention.keys.weight", rows), memory.shape)
    if net.mode == "training":
        return _teacher_forced(net, config, batch, keys, memory, states)
    return _greedy(net, config, keys, memory, states)


def loss(
    net: Net, config: Seq2seqConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Cross-entropy of the targets: a weighted mean over a sentence's words, then the mean over sentences."""
    weights = tf.transpose(batch["target_weights"])
    entropy = -tf.reshape(tf.nn.log_softmax(outputs["logits"])[:, 0], weights.shape)
    sums = tf.reduce_sum(entropy * weights, 0) / (tf.reduce_sum(weights, 0) + NO_WEIGHT)
    return tf.reduce_mean(sums)
