"""What the layers of one step share: variables, layout, noise, names, and the branches they take."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import tensorflow as tf

from fathom_onnx.exporting import kink_key
from fathom_onnx.workloads.contract import Mode, Noise

__all__ = ["Branch", "DataFormat", "Net"]

DataFormat = Literal["NCHW", "NHWC"]


@dataclass(frozen=True)
class Branch:
    """Where a layer that is not smooth went: its input (NCHW for images) and the branches it took."""

    op: Literal["Relu", "MaxPool", "Clip", "ArgMax"]
    value: tf.Tensor
    taken: tf.Tensor


@dataclass
class Net:
    """What the layers of one step share.

    Attributes:
        variables: Parameters and buffers by name, in the workload's layout.
        mode: Training uses the batch's own statistics.
        data_format: The layout of images between layers.
        given_noise: Random tensors that come from outside, by name; the others are drawn.
        noise: Random tensors that the workload draws, by name.
        branches: Kink key to the branches that must be taken there instead of the layer's own.
        record: Whether to note which branches are taken.
        phase: The phase that layers are named under.
        updated: New values of buffers, by name.
        taken: Kink key to the branches taken there.
        times: How many kinks a layer had so far.
    """

    variables: Mapping[str, tf.Tensor]
    mode: Mode
    data_format: DataFormat = "NCHW"
    given_noise: Mapping[str, tf.Tensor] = field(default_factory=dict)
    noise: Mapping[str, Noise] = field(default_factory=dict)
    branches: Mapping[str, tf.Tensor] = field(default_factory=dict)
    record: bool = False
    phase: str = "forward"
    updated: dict[str, tf.Tensor] = field(default_factory=dict)
    taken: dict[str, Branch] = field(default_factory=dict)

    times: Counter[str] = field(default_factory=Counter)

    def branch(self, layer: str) -> tuple[str, tf.Tensor | None]:
        """The key of a layer's next kink, and the branches it must take, or None for its own."""
        key = kink_key(layer, self.times[layer])
        self.times[layer] += 1
        return key, self.branches.get(key)

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Name everything made inside after a layer."""
        # the slash at the end makes the scope the same one each time, where TensorFlow would number it
        with tf.name_scope(f"{self.phase}/{name}/"):
            yield

    def draw(self, name: str) -> tf.Tensor:
        """A random tensor of the workload, drawn here unless it is given."""
        if name in self.given_noise:
            return self.given_noise[name]
        noise = self.noise[name]
        draw = tf.random.normal if noise.distribution == "normal" else tf.random.uniform
        return draw(noise.shape)

    def image(self, x: tf.Tensor) -> tf.Tensor:
        """A tensor [N, C, H, W] in the network's layout; one that is no image as it is."""
        return tf.transpose(x, (0, 2, 3, 1)) if self.data_format == "NHWC" and len(x.shape) == 4 else x

    def nchw(self, x: tf.Tensor) -> tf.Tensor:
        """The other way: an image of the network as [N, C, H, W]."""
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
