"""memnet: an end-to-end memory network (Sukhbaatar et al. 2015, arXiv:1503.08895).

A sentence is embedded as the sum of its word vectors, weighted by position (section 4.1 of the paper, with J the length
of a padded sentence). The query is embedded by B. Every sentence of the story is embedded twice: by A and T_A as input
memory m, by C and T_C as output memory c. A hop is ``p = softmax(m u)``, ``o = p c``, ``u' = H u + o``; A, C and H are
the same at all hops ("layer-wise, RNN-like" weight tying, section 2.2). The answer is ``softmax(W u)``. The loss is
summed over the batch.

Word id 0 is nil: its rows of A, B and C start at zero and stay there, so padding adds nothing to a sentence. As in the
paper, an empty memory slot is not masked and has its temporal encoding alone. Slot 0 is the last sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import (
    Adam,
    Draw,
    Gradients,
    Initialiser,
    Layer,
    Noise,
    TensorSpec,
    Variable,
    Workload,
)

__all__ = ["DEFINITION", "NIL", "MemnetConfig", "build"]

NIL = 0
"""The word id that stands for no word."""

_FATHOM = "Fathom memnet (Adolf et al. 2016)"
_MEMN2N = "Sukhbaatar et al. 2015"


@dataclass(frozen=True)
class MemnetConfig:
    """Hyper-parameters of memnet."""

    batch: int = setting(32, f"{_MEMN2N}, section 4.2; {_FATHOM}")
    memory: int = setting(50, f"{_MEMN2N}, section 4.2: the most recent 50 sentences")
    sentence: int = setting(11, "bAbI: words of the longest sentence; " + _FATHOM)
    vocabulary: int = setting(180, f"{_MEMN2N}, section 4: 177 words, with nil and rounded up; {_FATHOM}")
    embedding: int = setting(20, f"{_MEMN2N}, section 4.2: d = 20 for a task on its own")
    hops: int = setting(3, f"{_MEMN2N}, section 4.2: K = 3")
    learning_rate: float = setting(1e-2, _FATHOM)
    deviation: float = setting(0.1, f"{_MEMN2N}, section 4.2: all weights start normal with deviation 0.1")
    clip_norm: float = setting(40.0, f"{_MEMN2N}, section 4.2; of each tensor on its own, {_FATHOM}")
    gradient_noise: float = setting(1e-3, f"{_FATHOM}; Neelakantan et al. 2015, arXiv:1511.06807")


def build(preset: str, config: MemnetConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The vocabulary has no word.
    """
    c = config
    if c.vocabulary < 2:
        raise ValueError("a vocabulary of nil alone")
    normal = Initialiser("normal", c.deviation)
    words = Initialiser("normal", c.deviation, zero_row=NIL)
    table, times = (c.vocabulary, c.embedding), (c.memory, c.embedding)
    parameters = (
        Variable("query.weight", table, words),
        Variable("memory_in.weight", table, words),
        Variable("memory_in.time", times, normal),
        Variable("memory_out.weight", table, words),
        Variable("memory_out.time", times, normal),
        Variable("state.weight", (c.embedding, c.embedding), normal),
        Variable("answer.weight", table, normal),
    )
    layers = [
        Layer("query", "embedding"),
        Layer("memory_in", "embedding"),
        Layer("memory_out", "embedding"),
        Layer("state", "linear"),
    ]
    for hop in range(1, c.hops + 1):
        layers += [
            Layer(f"hop{hop}.attention", "attention"),
            Layer(f"hop{hop}.read", "weighted sum"),
            Layer(f"hop{hop}.update", "addition"),
        ]
    layers.append(Layer("answer", "linear"))
    ids = Draw("integers", 0, c.vocabulary)
    return Workload(
        name="memnet",
        preset=preset,
        config=c,
        features=(
            TensorSpec("stories", (c.batch, c.memory, c.sentence), "int64", "word ids, last sentence first", ids),
            TensorSpec("queries", (c.batch, c.sentence), "int64", "word ids", ids),
        ),
        targets=(TensorSpec("answers", (c.batch, c.vocabulary), meaning="one-hot word", draw=Draw("one_hot")),),
        noise={"training": tuple(Noise(Gradients.noise_of(p.name), p.shape) for p in parameters)},
        parameters=parameters,
        outputs=(TensorSpec("logits", (c.batch, c.vocabulary), meaning="of the answer word"),),
        layers=tuple(layers),
        optimizer=Adam(c.learning_rate),
        data="stories",
        gradients=Gradients(
            clip_norm=c.clip_norm,
            noise=c.gradient_noise,
            zero_rows=tuple((p.name, NIL) for p in parameters if p.initialiser is words),
        ),
    )


_PAPER = MemnetConfig()

DEFINITION = Definition(
    name="memnet",
    summary="end-to-end memory network, 3 hops over stories",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=16),
        "tiny": MemnetConfig(batch=4, memory=10, sentence=7, vocabulary=40, embedding=8),
    },
    build=build,
    fidelity="The original Fathom code reads the input memory again as output memory (no C and no T_C); here both are "
    "there, as in the paper. Adam, gradient noise and clipping by each tensor's own norm are that code's; the paper "
    "itself anneals plain gradient descent, and for bAbI ties weights between adjacent hops instead.",
    papers=("Sukhbaatar et al., End-To-End Memory Networks, NIPS 2015, arXiv:1503.08895",),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
