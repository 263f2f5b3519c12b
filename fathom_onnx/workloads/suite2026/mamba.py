"""mamba: the state space model Mamba-2 as a language model (Dao and Gu 2024, arXiv:2405.21060), in chunked form.

A block is ``x + mixer(norm(x))``, with RMSNorm. The mixer projects its input to the gate z, to x, B and C, and to one
step size dt a head; passes x, B and C through a causal depthwise convolution of width 4 and a SiLU; computes, for every
head with its scalar ``a = -exp(A_log)``, the recurrence

    state_t = exp(dt_t a) state_(t-1) + dt_t B_t x_t^T        y_t = C_t^T state_t + D x_t

with ``dt = softplus(dt + dt_bias)``; normalises ``y * silu(z)`` and projects back. B and C are those of all heads.

The recurrence is computed as listing 1 of the paper does (state space duality): the sequence is cut into chunks;
within a chunk it is attention whose mask holds the products of decays; each chunk gives a state; the states are passed
on between chunks by one matrix of products of decays; and each position reads the state that enters its chunk.
Logarithms of products of decays are summed under a mask (``segsum``), never as differences of long sums.

After the last block come another RMSNorm and a linear layer that shares its weight with the embedding. Inference gives
the logits of the next token at every position. The loss is their mean cross-entropy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import AdamW, Draw, Gradients, Initialiser, Layer, TensorSpec, Variable, Workload

__all__ = ["DEFINITION", "MambaConfig", "build"]

_MAMBA2 = "Dao and Gu 2024"
_MODEL = "state-spaces/mamba2-130m, the published model"
_CODE = f"the code of {_MAMBA2}, Mamba2"
_RECIPE = "Gu and Dao 2023, arXiv:2312.00752, appendix E.2.1"


@dataclass(frozen=True)
class MambaConfig:
    """Hyper-parameters of mamba."""

    batch: int = setting(1, "ours: one sequence of a batch of 0.5 M tokens")
    length: int = setting(2048, f"{_RECIPE}: context length 2048")
    vocabulary: int = setting(50_288, f"{_MODEL}: 50,277 tokens of GPT-NeoX, padded to a multiple of 16")
    blocks: int = setting(24, _MODEL)
    width: int = setting(768, _MODEL)
    expand: int = setting(2, f"{_CODE}: expand")
    state: int = setting(128, f"{_CODE}: d_state")
    head: int = setting(64, f"{_CODE}: headdim")
    kernel: int = setting(4, f"{_CODE}: d_conv")
    chunk: int = setting(256, f"{_CODE}: chunk_size")
    epsilon: float = setting(1e-5, f"{_CODE}: of RMSNorm")
    learning_rate: float = setting(6e-4, f"{_RECIPE}: 125 M parameters, peak")
    beta2: float = setting(0.95, f"{_RECIPE}: AdamW beta = (0.9, 0.95)")
    weight_decay: float = setting(0.1, f"{_RECIPE}: weight decay")
    clip_norm: float = setting(1.0, f"{_RECIPE}: gradient clip value")
    deviation: float = setting(0.02, f"{_CODE}: of the embedding")

    @property
    def inner(self) -> int:
        """Channels of x and z."""
        return self.expand * self.width

    @property
    def heads(self) -> int:
        """Heads of a mixer."""
        return self.inner // self.head

    @property
    def convolved(self) -> int:
        """Channels of the convolution: x, B and C."""
        return self.inner + 2 * self.state


def _log_uniform(low: float, high: float) -> Initialiser:
    """Values whose exponentials are log-uniform between two bounds."""
    centre = (math.log(low) + math.log(high)) / 2
    return Initialiser("uniform", math.log(high) - centre, centre=centre)


def _block(name: str, c: MambaConfig) -> tuple[list[Layer], list[Variable]]:
    """The layers and parameters of a block."""
    one = Initialiser.constant(1.0)

    def within(bound: float) -> Initialiser:
        return Initialiser("uniform", bound)

    mixer = f"{name}.mixer"
    projected = c.inner + c.convolved + c.heads
    # PyTorch's own bounds; that of the output is divided by the root of the number of residual additions
    inputs, outputs = 1 / math.sqrt(c.width), 1 / math.sqrt(c.inner * c.blocks)
    window = 1 / math.sqrt(c.kernel)
    layers = [
        Layer(f"{name}.norm", "root mean square norm"),
        Layer(f"{mixer}.in_proj", "linear"),
        Layer(f"{mixer}.conv1d", "convolution"),
        Layer(f"{mixer}.act", "silu"),
        Layer(mixer, "step sizes and decays"),
        Layer(f"{mixer}.ssd", "state space recurrence"),
        Layer(f"{mixer}.norm", "gated root mean square norm"),
        Layer(f"{mixer}.out_proj", "linear"),
        Layer(f"{name}.add", "addition"),
    ]
    parameters = [
        Variable(f"{name}.norm.weight", (c.width,), one),
        # a softplus of -7 to -2.3 is close to an exponential: step sizes of 0.001 to 0.1
        Variable(f"{mixer}.dt_bias", (c.heads,), _log_uniform(1e-3, 1e-1)),
        Variable(f"{mixer}.A_log", (c.heads,), _log_uniform(1.0, 16.0)),
        Variable(f"{mixer}.D", (c.heads,), one),
        Variable(f"{mixer}.in_proj.weight", (projected, c.width), within(inputs)),
        Variable(f"{mixer}.conv1d.weight", (c.convolved, 1, c.kernel), within(window)),
        Variable(f"{mixer}.conv1d.bias", (c.convolved,), within(window)),
        Variable(f"{mixer}.norm.weight", (c.inner,), one),
        Variable(f"{mixer}.out_proj.weight", (c.width, c.inner), within(outputs)),
    ]
    return layers, parameters


def build(preset: str, config: MambaConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: Heads do not divide the channels, or chunks the sequence.
    """
    c = config
    if c.inner % c.head:
        raise ValueError(f"{c.inner} channels in heads of {c.head}")
    if c.length % c.chunk:
        raise ValueError(f"{c.length} tokens in chunks of {c.chunk}")
    layers = [Layer("embedding", "embedding")]
    parameters = [Variable("embedding.weight", (c.vocabulary, c.width), Initialiser("normal", c.deviation))]
    for number in range(c.blocks):
        of_block, variables = _block(f"layers.{number}", c)
        layers += of_block
        parameters += variables
    layers += [Layer("norm_f", "root mean square norm"), Layer("lm_head", "linear")]
    parameters.append(Variable("norm_f.weight", (c.width,), Initialiser.constant(1.0)))
    ids = Draw("integers", 0, c.vocabulary)
    return Workload(
        name="mamba",
        preset=preset,
        config=c,
        features=(TensorSpec("tokens", (c.batch, c.length), "int64", "token ids", ids),),
        targets=(TensorSpec("labels", (c.batch, c.length), "int64", "ids of the tokens that follow", ids),),
        parameters=tuple(parameters),
        outputs=(TensorSpec("logits", (c.batch, c.length, c.vocabulary), meaning="of the tokens that follow"),),
        layers=tuple(layers),
        optimizer=AdamW(c.learning_rate, beta2=c.beta2, weight_decay=c.weight_decay),
        data="tokens",
        gradients=Gradients(clip_global_norm=c.clip_norm),
    )


_PAPER = MambaConfig()

DEFINITION = Definition(
    name="mamba",
    summary="Mamba-2, a state space model of language, in chunked form",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=4, length=128, vocabulary=1024, blocks=4, width=128, state=64, chunk=32),
        "tiny": replace(
            _PAPER, batch=2, length=12, vocabulary=32, blocks=2, width=8, state=6, head=4, chunk=4, learning_rate=1e-2
        ),
    },
    build=build,
    fidelity="The 130 M model as published, with the chunked form written in operators of the frameworks (the "
    "authors' code has kernels of its own). Where the authors' code starts step sizes log-uniform and takes "
    "the inverse of the softplus, the bias here is uniform, the same to 5 %; decays start log-uniform in 1 "
    "to 16, not uniform. Weight decay is for all parameters; the authors' code leaves out biases, norms, "
    "A_log, dt_bias and D. The learning rate is the peak of the schedule. One sequence of a batch is the "
    "published size: a graph of all 256 differs in the batch only.",
    papers=(
        "Dao and Gu, Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space "
        "Duality, ICML 2024, arXiv:2405.21060",
        "Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023, arXiv:2312.00752",
    ),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
