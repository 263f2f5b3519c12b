"""Layers one after the other: a builder for the layers, parameters and noise of a workload.

Unless a layer says otherwise, weights start as He et al. 2015 (arXiv:1502.01852, eq. 10) derive for rectifiers and
biases start at zero: the fixed deviations that the networks of the time were published with suit one width only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .contract import Initialiser, Layer, Noise, Variable

__all__ = ["Convolution", "Stack"]

_ZERO = Initialiser.constant(0.0)


@dataclass(frozen=True)
class Convolution:
    """A square convolution with a bias, and the ReLU after it.

    Attributes:
        name: Layer name of the convolution.
        relu: Layer name of the ReLU.
        channels_in: Channels of the input.
        channels: Channels of the output, that is filters.
        kernel: Side of the kernel.
        stride: Stride in both directions.
        padding: Zeros added at each side of the image.
    """

    name: str
    relu: str
    channels_in: int
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def output_side(self, side: int) -> int:
        """Side of the output for a square input of side ``side``; below 1 where the input is too small."""
        return (side + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass
class Stack:
    """The layers, parameters and noise of a model, collected in forward order.

    Attributes:
        layers: The layers.
        parameters: Their trained variables.
        noise: What the layers draw in training.
    """

    layers: list[Layer] = field(default_factory=list)
    parameters: list[Variable] = field(default_factory=list)
    noise: list[Noise] = field(default_factory=list)

    def add(self, layer: Layer, start: Initialiser = _ZERO, **shapes: tuple[int, ...]) -> None:
        """Add a layer with its parameters.

        Args:
            layer: The layer.
            start: How its parameters start, except the bias, which starts at zero.
            **shapes: Last part of a parameter's name (``weight``, ``bias``) to its shape.
        """
        self.layers.append(layer)
        for part, shape in shapes.items():
            self.parameters.append(Variable(f"{layer.name}.{part}", shape, _ZERO if part == "bias" else start))

    def plain(self, name: str, kind: str) -> None:
        """Add a layer without parameters."""
        self.add(Layer(name, kind))

    def convolution(self, conv: Convolution) -> None:
        """Add a convolution, whose weight is [channels, channels_in, kernel, kernel], and its ReLU."""
        shape = (conv.channels, conv.channels_in, conv.kernel, conv.kernel)
        start = Initialiser.he_normal(conv.channels_in * conv.kernel**2)
        self.add(Layer(conv.name, "convolution"), start, weight=shape, bias=shape[:1])
        self.plain(conv.relu, "relu")

    def linear(self, name: str, inputs: int, outputs: int, start: Initialiser | None = None) -> None:
        """Add a fully connected layer with a bias; its weight is [outputs, inputs]."""
        start = start or Initialiser.he_normal(inputs)
        self.add(Layer(name, "linear"), start, weight=(outputs, inputs), bias=(outputs,))

    def dropout(self, name: str, shape: tuple[int, ...], rate: float) -> None:
        """Add dropout of a tensor of ``shape`` by a uniform draw of that shape, ``<name>.noise``.

        An element is kept, and scaled by 1 / (1 - rate), where its draw is at least the rate.

        Raises:
            ValueError: The rate keeps nothing.
        """
        if rate >= 1:
            raise ValueError(f"dropout {rate} keeps nothing")
        self.noise.append(Noise(f"{name}.noise", shape, "uniform"))
        self.plain(name, "dropout")
