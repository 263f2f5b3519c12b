"""speech in JAX: the Deep Speech of :mod:`fathom_onnx.workloads.suite2016.speech`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from fathom_exporters.jax import marks
from fathom_exporters.jax.ctc import ctc_loss
from fathom_exporters.jax.models.contract import Draw, Tensors, layer
from fathom_exporters.jax.models.layers import apply, linear
from fathom_onnx.workloads.suite2016.speech import SpeechConfig

__all__ = ["forward", "loss"]


def time_major(x: Array) -> Array:
    """[N, T, C] -> [T * N, C]: the frames of one time step lie together, so that a recurrent layer reads a block."""
    return x.transpose(1, 0, 2).reshape(-1, x.shape[2])


def recurrent_input(variables: Tensors, name: str, x: Array, lengths: Array) -> Array:
    """The input of both directions, 0 for frames past the utterance's end: [T * N, H] -> [T * N, H]."""
    z = linear(variables, name, x)
    with layer(name):
        times = jnp.arange(x.shape[0] // lengths.shape[0], dtype=lengths.dtype)
        in_utterance = (times[:, None] < lengths).astype(x.dtype)
        return z * in_utterance.reshape(-1, 1)


def direction(variables: Tensors, name: str, z: Array, batch: int, bound: float, reverse: bool) -> Array:
    """``h[t] = clip(z[t] + W h[t'])`` t' the time before t in this direction: z, h [T * N, H]."""
    weight = variables[f"{name}.weight"]
    with layer(name):
        steps = jnp.split(z, z.shape[0] // batch)
        states: list[Array] = []
        for step in reversed(steps) if reverse else steps:
            x = step + states[-1] @ weight.T if states else step
            states.append(marks.clip(x, 0, bound))
        return jnp.concatenate(states[::-1] if reverse else states)


def bidirectional(variables: Tensors, name: str, x: Array, lengths: Array, bound: float) -> Array:
    """The recurrent layer: [T * N, H] -> [T * N, H]."""
    z = recurrent_input(variables, f"{name}.input", x, lengths)
    batch = lengths.shape[0]
    forwards = direction(variables, f"{name}.forwards", z, batch, bound, reverse=False)
    backwards = direction(variables, f"{name}.backwards", z, batch, bound, reverse=True)
    with layer(f"{name}.sum"):
        return forwards + backwards


def output(variables: Tensors, name: str, x: Array, batch: int) -> Array:
    """Scores of every frame: [T * N, H] -> [T, N, classes]."""
    scores = linear(variables, name, x)
    with layer(name):
        return scores.reshape(-1, batch, scores.shape[1])


def forward(
    config: SpeechConfig, variables: Tensors, batch: Tensors, noise: Draw, train: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The whole model: features [N, T, coefficients] and lengths [N] -> logits [T, N, phonemes + 1]."""

    def hidden(number: int, x: Array) -> Array:
        z = linear(variables, f"hidden{number}", x)
        with layer(f"clip{number}"):
            return marks.clip(z, 0, config.bound)

    lengths = batch["feature_lengths"]
    x = apply("time_major", time_major, batch["features"])
    x = hidden(3, hidden(2, hidden(1, x)))
    x = hidden(5, bidirectional(variables, "recurrent", x, lengths, config.bound))
    return {"logits": output(variables, "output", x, lengths.shape[0])}, {}


def loss(config: SpeechConfig, outputs: Tensors, batch: Tensors) -> Array:
    """Mean over the batch of the connectionist temporal classification losses."""
    return ctc_loss(outputs["logits"], batch["feature_lengths"], batch["labels"], batch["label_lengths"]).mean()
