"""speech in TensorFlow: the Deep Speech of :mod:`fathom_onnx.workloads.suite2016.speech`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fathom_exporters.tensorflow.ctc import ctc_loss
from fathom_exporters.tensorflow.layers import add, linear
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2016.speech import SpeechConfig

__all__ = ["forward", "loss"]


def time_major(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """[N, T, C] -> [T * N, C]: the frames of one time step lie together, so that a recurrent layer reads a block."""
    with net.scope(name):
        return tf.reshape(tf.transpose(x, (1, 0, 2)), (-1, x.shape[2]))


def clipped(x: tf.Tensor, bound: float) -> tf.Tensor:
    """``min(max(x, 0), bound)``; the caller enters the scope, since a recurrent layer clips once a time step."""
    return tf.minimum(tf.nn.relu(x), tf.constant(bound, x.dtype))


def clip(net: Net, name: str, x: tf.Tensor, bound: float) -> tf.Tensor:
    """``min(max(x, 0), bound)``, a layer of its own."""
    with net.scope(name):
        return clipped(x, bound)


def recurrent_input(net: Net, name: str, x: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """The input of both directions, 0 for frames past the utterance's end: [T * N, H] -> [T * N, H]."""
    z = linear(net, name, x)
    with net.scope(name):
        times = np.arange(x.shape[0] // lengths.shape[0])
        in_utterance = tf.cast(times[:, np.newaxis] < lengths, x.dtype)
        return z * tf.reshape(in_utterance, (-1, 1))


def direction(net: Net, name: str, z: tf.Tensor, batch: int, bound: float, reverse: bool) -> tf.Tensor:
    """``h[t] = clip(z[t] + W h[t'])`` t' the time before t in this direction: z, h [T * N, H]."""
    weight = net.variables[f"{name}.weight"]
    with net.scope(name):
        steps = tf.split(z, z.shape[0] // batch)
        states: list[tf.Tensor] = []
        for step in reversed(steps) if reverse else steps:
            x = step + tf.matmul(states[-1], weight, transpose_b=True) if states else step
            states.append(clipped(x, bound))
        return tf.concat(states[::-1] if reverse else states, 0)


def bidirectional(net: Net, name: str, x: tf.Tensor, lengths: tf.Tensor, bound: float) -> tf.Tensor:
    """The recurrent layer: [T * N, H] -> [T * N, H]."""
    z = recurrent_input(net, f"{name}.input", x, lengths)
    batch = lengths.shape[0]
    forwards = direction(net, f"{name}.forwards", z, batch, bound, reverse=False)
    backwards = direction(net, f"{name}.backwards", z, batch, bound, reverse=True)
    return add(net, f"{name}.sum", forwards, backwards)


def output(net: Net, name: str, x: tf.Tensor, batch: int) -> tf.Tensor:
    """Scores of every frame: [T * N, H] -> [T, N, classes]."""
    scores = linear(net, name, x)
    with net.scope(name):
        return tf.reshape(scores, (-1, batch, scores.shape[1]))


def forward(net: Net, config: SpeechConfig, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The whole model: features [N, T, coefficients] and lengths [N] -> logits [T, N, phonemes + 1]."""
    lengths = batch["feature_lengths"]
    x = time_major(net, "time_major", batch["features"])
    for number in (1, 2, 3):
        x = clip(net, f"clip{number}", linear(net, f"hidden{number}", x), config.bound)
    x = bidirectional(net, "recurrent", x, lengths, config.bound)
    x = clip(net, "clip5", linear(net, "hidden5", x), config.bound)
    return {"logits": output(net, "output", x, lengths.shape[0])}


def loss(net: Net, config: SpeechConfig, outputs: Mapping[str, tf.Tensor], batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Mean over the batch of the connectionist temporal classification losses."""
    losses = ctc_loss(outputs["logits"], batch["feature_lengths"], batch["labels"], batch["label_lengths"])
    return tf.reduce_mean(losses)
