"""speech: Deep Speech (Hannun et al. 2014, arXiv:1412.5567).

Three fully connected layers, one bidirectional plain recurrent layer and one fully connected layer, all of the same
width and with a ReLU clipped at 20, then a linear layer to the scores of 61 phonemes and the blank for every frame
(section 2 of the paper). As in the paper, the two directions of the recurrent layer share their input weights and bias,
and their states are summed:
``h_f[t] = g(W4 h3[t] + b4 + W_f h_f[t-1])``, ``h_b[t] = g(W4 h3[t] + b4 + W_b h_b[t+1])``, ``h4 = h_f + h_b``.
The loss is connectionist temporal classification (Graves et al. 2006), a mean over the batch of ``-log p(labels)``.

Utterances of a batch have different lengths. The input of the recurrent layer is set to zero in frames past the end of
an utterance, so that the backward direction starts from a zero state at its last frame and padding does not affect its
scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Adam, Draw, Initialiser, Layer, TensorSpec, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["DEFINITION", "SpeechConfig", "build"]

_FATHOM = "Fathom speech (Adolf et al. 2016)"
_DEEP = "Hannun et al. 2014"


@dataclass(frozen=True)
class SpeechConfig:
    """Hyper-parameters of speech."""

    batch: int = setting(32, _FATHOM)
    frames: int = setting(150, f"{_FATHOM}: frames of an utterance, shorter ones are padded")
    coefficients: int = setting(26, f"{_FATHOM}: mel-frequency cepstral coefficients of a frame")
    width: int = setting(2048, f"{_DEEP}, section 5.1: 2048 neurons a hidden layer")
    bound: float = setting(20.0, f"{_DEEP}, section 2: clipped rectified-linear activation min(max(0, z), 20)")
    phonemes: int = setting(61, "TIMIT's phoneme set (Garofolo et al. 1993); the blank is one more output")
    labels: int = setting(40, f"{_FATHOM}: labels of an utterance, shorter ones are padded")
    learning_rate: float = setting(1e-3, _FATHOM)


def build(preset: str, config: SpeechConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: Utterances have too few frames for their labels.
    """
    c = config
    if c.frames < 2 * c.labels:
        # a repeated label needs a blank before it, so an utterance can need two frames per label
        raise ValueError(f"{c.frames} frames are fewer than twice the {c.labels} labels")
    outputs = c.phonemes + 1
    stack = Stack()

    # He's variance would let the recurrent states grow over time; half of it keeps them bounded in both directions
    damped = Initialiser.glorot_uniform(c.width, c.width)
    stack.plain("time_major", "layout")
    for number, inputs in ((1, c.coefficients), (2, c.width), (3, c.width)):
        stack.linear(f"hidden{number}", inputs, c.width)
        stack.add(Layer(f"clip{number}", "clipped relu"))
    stack.linear("recurrent.input", c.width, c.width, damped)
    for direction in ("forwards", "backwards"):
        stack.add(Layer(f"recurrent.{direction}", "recurrent"), damped, weight=(c.width, c.width))
    stack.plain("recurrent.sum", "addition")
    stack.linear("hidden5", c.width, c.width)
    stack.add(Layer("clip5", "clipped relu"))
    stack.linear("output", c.width, outputs, Initialiser.glorot_uniform(c.width, outputs))
    shortest = 2 * c.labels
    return Workload(
        name="speech",
        preset=preset,
        config=c,
        features=(
            TensorSpec(
                "features",
                (c.batch, c.frames, c.coefficients),
                meaning="cepstral coefficients of each frame, each of mean 0 and deviation 1 over the utterance",
                draw=Draw("normal"),
            ),
            TensorSpec(
                "feature_lengths",
                (c.batch,),
                "int64",
                "frames that belong to the utterance",
                Draw("integers", shortest, c.frames + 1),
            ),
        ),
        targets=(
            TensorSpec(
                "labels",
                (c.batch, c.labels),
                "int64",
                "phonemes, from 0; any past the end",
                Draw("integers", 0, c.phonemes),
            ),
            TensorSpec(
                "label_lengths",
                (c.batch,),
                "int64",
                "phonemes that were spoken",
                Draw("integers", 0, c.labels + 1),
            ),
        ),
        parameters=tuple(stack.parameters),
        outputs=(
            TensorSpec("logits", (c.frames, c.batch, outputs), meaning="scores of the phonemes and, last, the blank"),
        ),
        layers=tuple(stack.layers),
        optimizer=Adam(c.learning_rate),
        data="utterances",
    )


_PAPER = SpeechConfig()

DEFINITION = Definition(
    name="speech",
    summary="Deep Speech, bidirectional recurrent network with CTC",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=8, frames=100, labels=30, width=512),
        "tiny": replace(_PAPER, batch=3, frames=12, labels=5, width=16),
    },
    build=build,
    fidelity="In the original Fathom code the recurrent layer is built and its result never used, and the lengths of "
    "the labels are given to the loss as the lengths in time. Here the recurrent layer is part of the network, as in "
    "the paper, and each length is what it says. As in Fathom, a frame enters alone, where the paper adds 5 to 9 "
    "neighbours on each side, and there is no dropout. The paper outputs characters; the outputs here are TIMIT's "
    "phonemes, as in Fathom.",
    papers=(
        "Hannun et al., Deep Speech: Scaling up end-to-end speech recognition, 2014, arXiv:1412.5567",
        "Graves, Fernandez, Gomez and Schmidhuber, Connectionist temporal classification, ICML 2006",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
