"""The network that the layers of one step share: variables, layout, noise and names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import tensorflow as tf

from fathom_onnx.workloads.contract import Mode, Noise

__all__ = ["DataFormat", "Net"]

DataFormat = Literal["NCHW", "NHWC"]
"""Layout of images: channels last, as TensorFlow's CPU kernels take them, or channels first."""


@dataclass
class Net:
    """The network that the layers of one step share.

    Attributes:
        variables: Parameters, buffers and caches by name, in the workload's layout.
        mode: In training, batch normalisation uses the batch's own statistics and noise is drawn.
        data_format: The layout of images between layers.
        given_noise: Random tensors that are inputs, by name; the others are drawn.
        noise: The workload's random tensors, by name.
        phase: The phase that layers are named under.
        new_buffers: New values of buffers and caches, by name.
    """

    variables: Mapping[str, tf.Tensor]
    mode: Mode
    data_format: DataFormat = "NCHW"
    given_noise: Mapping[str, tf.Tensor] = field(default_factory=dict)
    noise: Mapping[str, Noise] = field(default_factory=dict)
    phase: str = "forward"
    new_buffers: dict[str, tf.Tensor] = field(default_factory=dict)

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """While entered, operations are named after a layer."""
        # the slash at the end makes it the same scope each time; without it TensorFlow numbers scopes
        with tf.name_scope(f"{self.phase}/{name}/"):
            yield

    def draw(self, name: str) -> tf.Tensor:
        """A random tensor of the workload, drawn unless it is an input."""
        if name in self.given_noise:
            return self.given_noise[name]
        noise = self.noise[name]
        draw = tf.random.normal if noise.distribution == "normal" else tf.random.uniform
        return draw(noise.shape)

    def image(self, x: tf.Tensor) -> tf.Tensor:
        """A tensor [N, C, H, W] in the network's layout; a tensor of another rank as it is."""
        return tf.transpose(x, (0, 2, 3, 1)) if self.data_format == "NHWC" and len(x.shape) == 4 else x

    def nchw(self, x: tf.Tensor) -> tf.Tensor:
        """A tensor in the network's layout as [N, C, H, W]; a tensor of another rank as it is."""
        return tf.transpose(x, (0, 3, 1, 2)) if self.data_format == "NHWC" and len(x.shape) == 4 else x

    @property
    def spatial(self) -> tuple[int, int]:
        """The axes of height and width."""
        return (2, 3) if self.data_format == "NCHW" else (1, 2)

    def padding(self, each_side: int) -> list[list[int]] | str:
        """The same padding on all four sides, as TensorFlow takes it."""
        if not each_side:
            return "VALID"
        pads = [[0, 0]] * 4
        for axis in self.spatial:
            pads[axis] = [each_side, each_side]
        return pads
