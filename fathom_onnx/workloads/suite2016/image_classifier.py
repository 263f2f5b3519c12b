"""What the image classifiers (alexnet, vgg, residual) share: their inputs and output, update rule and last layers.

All of them map normalised RGB images to the scores of classes, and are trained with Adam on the mean softmax
cross-entropy over the batch.
"""

from __future__ import annotations

from typing import Protocol

from fathom_onnx.workloads.contract import Adam, Draw, TensorSpec, Variable, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["add_fully_connected", "image_classifier"]


class _Config(Protocol):
    """The configuration fields that every image classifier has."""

    @property
    def batch(self) -> int: ...
    @property
    def image(self) -> int: ...
    @property
    def classes(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...


class _FullyConnectedConfig(_Config, Protocol):
    """The fields of a classifier that ends as AlexNet and VGG do."""

    @property
    def fc(self) -> int: ...
    @property
    def dropout(self) -> float: ...


def add_fully_connected(stack: Stack, config: _FullyConnectedConfig, features: int) -> None:
    """Add the last layers of AlexNet and VGG: ``flatten``, then ``fc6`` to ``fc8`` with dropout after the first two.

    Args:
        stack: What they are added to.
        config: Width ``fc`` of the hidden layers, dropout rate, classes and batch size.
        features: Elements of an image's features, the input of ``fc6``.

    Raises:
        ValueError: The dropout rate keeps nothing.
    """
    stack.plain("flatten", "flatten")
    for number, inputs in ((6, features), (7, config.fc)):
        stack.linear(f"fc{number}", inputs, config.fc)
        stack.plain(f"relu{number}", "relu")
        stack.dropout(f"dropout{number}", (config.batch, config.fc), config.dropout)
    stack.linear("fc8", config.fc, config.classes)


def image_classifier(
    name: str, preset: str, config: _Config, stack: Stack, buffers: tuple[Variable, ...] = ()
) -> Workload:
    """The workload of an image classifier with the layers of ``stack``.

    ``images`` [batch, 3, image, image] and one-hot ``labels`` [batch, classes] go in, ``logits`` [batch, classes] come
    out.
    """
    c = config
    return Workload(
        name=name,
        preset=preset,
        config=c,
        features=(TensorSpec("images", (c.batch, 3, c.image, c.image), meaning="normalised RGB", draw=Draw("normal")),),
        targets=(TensorSpec("labels", (c.batch, c.classes), meaning="one-hot classes", draw=Draw("one_hot")),),
        noise={"training": tuple(stack.noise)} if stack.noise else {},
        parameters=tuple(stack.parameters),
        buffers=buffers,
        outputs=(TensorSpec("logits", (c.batch, c.classes)),),
        layers=tuple(stack.layers),
        optimizer=Adam(c.learning_rate),
        data="photographs",
    )
