"""autoenc: a variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114).

Encoder 784-500-(mean 200, log variance 200), decoder 200-500-784, softplus hidden units. The sample
``z = mean + exp(log_variance / 2) * noise`` is drawn in the graph, in inference too. The loss is the negative
evidence lower bound, averaged over the batch: the Bernoulli reconstruction error plus the Gaussian divergence
``-1/2 * sum(1 + log_variance - mean^2 - exp(log_variance))`` (eq. 10 of the paper).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import Adam, Initialiser, Noise, TensorSpec, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["DEFINITION", "AutoencConfig", "build"]

_FATHOM = "Fathom autoenc (Adolf et al. 2016)"
_VAE = "Kingma and Welling 2014"


@dataclass(frozen=True)
class AutoencConfig:
    """Hyper-parameters of autoenc."""

    batch: int = setting(128, _FATHOM)
    image: int = setting(28, "MNIST image side (LeCun et al. 1998)")
    hidden: int = setting(500, f"{_VAE}, section 5: 500 hidden units")
    latent: int = setting(200, _FATHOM)
    learning_rate: float = setting(1e-3, _FATHOM)


def build(preset: str, config: AutoencConfig) -> Workload:
    """The workload at one configuration."""
    c = config
    pixels = c.image * c.image
    stack = Stack()

    def linear(name: str, inputs: int, outputs: int) -> None:
        stack.linear(name, inputs, outputs, Initialiser.glorot_uniform(inputs, outputs))

    linear("encoder.hidden", pixels, c.hidden)
    stack.plain("encoder.softplus", "softplus")
    linear("encoder.mean", c.hidden, c.latent)
    linear("encoder.log_variance", c.hidden, c.latent)
    stack.plain("sample", "sampling")
    linear("decoder.hidden", c.latent, c.hidden)
    stack.plain("decoder.softplus", "softplus")
    linear("decoder.output", c.hidden, pixels)
    stack.plain("decoder.sigmoid", "sigmoid")
    noise = (Noise("noise", (c.batch, c.latent)),)
    return Workload(
        name="autoenc",
        preset=preset,
        config=c,
        features=(TensorSpec("images", (c.batch, pixels), meaning="grey levels 0 to 1"),),
        noise={"inference": noise, "training": noise},
        parameters=tuple(stack.parameters),
        outputs=(TensorSpec("reconstruction", (c.batch, pixels), meaning="Bernoulli means"),),
        layers=tuple(stack.layers),
        optimizer=Adam(c.learning_rate),
        data="digits",
    )


_PAPER = AutoencConfig()

DEFINITION = Definition(
    name="autoenc",
    summary="variational autoencoder, 784-500-200-500-784",
    presets={
        "paper": _PAPER,
        "small": replace(_PAPER, batch=32),
        "tiny": AutoencConfig(batch=8, image=14, hidden=32, latent=6),
    },
    build=build,
    fidelity="The original Fathom code names softplus as its activation and never applies it; here both hidden layers "
    "apply it, as that code means to. The paper's own appendix C has tanh in its place.",
    papers=("Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, arXiv:1312.6114",),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
