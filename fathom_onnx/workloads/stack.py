"""Layers one after the other: what the plain image classifiers are listed with.

Weights start as He et al. 2015 (arXiv:1502.01852, eq. 10) derive for rectifiers, biases at zero: the fixed deviations
that the networks of the time were published with suit one width only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .contract import Draw, Initialiser, Layer, Noise, TensorSpec, Variable

__all__ = ["Stack", "image_tensors"]


@dataclass
class Stack:
    """The layers, parameters and noise of a model, collected in forward order.

    Attributes:
        layers: The layers.
        parameters: Their weights and biases.
        noise: What the layers draw in training.
    """

    layers: list[Layer] = field(default_factory=list)
    parameters: list[Variable] = field(default_factory=list)
    noise: list[Noise] = field(default_factory=list)

    def plain(self, name: str, kind: str) -> None:
        """A layer without parameters."""
        self.layers.append(Layer(name, kind))

    def _weighted(self, name: str, kind: str, shape: tuple[int, ...], fan_in: int) -> None:
        self.parameters.append(Variable(f"{name}.weight", shape, Initialiser.he_normal(fan_in)))
        self.parameters.append(Variable(f"{name}.bias", shape[:1], Initialiser.constant(0.0)))
        self.plain(name, kind)

    def convolution(self, name: str, channels_in: int, channels: int, kernel: int) -> None:
        """A square convolution with a bias; its weight is [channels, channels_in, kernel, kernel]."""
        shape = (channels, channels_in, kernel, kernel)
        self._weighted(name, "convolution", shape, channels_in * kernel * kernel)

    def linear(self, name: str, inputs: int, outputs: int) -> None:
        """A fully connected layer with a bias; its weight is [outputs, inputs]."""
        self._weighted(name, "linear", (outputs, inputs), inputs)

    def dropout(self, name: str, shape: tuple[int, ...]) -> None:
        """Dropout of a tensor of ``shape`` by a uniform draw of that shape, ``<name>.noise``.

        An element is kept, and scaled by 1 / (1 - rate), where its draw is at least the rate.
        """
        self.noise.append(Noise(f"{name}.noise", shape, "uniform"))
        self.plain(name, "dropout")

    def classifier(self, batch: int, inputs: int, width: int, classes: int) -> None:
        """The three fully connected layers of AlexNet and VGG, dropout after the first two: ``fc6`` to ``fc8``."""
        for number, size in ((6, inputs), (7, width)):
            self.linear(f"fc{number}", size, width)
            self.plain(f"relu{number}", "relu")
            self.dropout(f"dropout{number}", (batch, width))
        self.linear("fc8", width, classes)


def image_tensors(batch: int, side: int, classes: int) -> tuple[TensorSpec, TensorSpec]:
    """``images`` [batch, 3, side, side] and one-hot ``labels`` [batch, classes]."""
    return (
        TensorSpec("images", (batch, 3, side, side), meaning="normalised RGB", draw=Draw("normal")),
        TensorSpec("labels", (batch, classes), meaning="one-hot classes", draw=Draw("one_hot")),
    )
