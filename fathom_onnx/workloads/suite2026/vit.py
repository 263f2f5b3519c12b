"""vit: the vision transformer ViT-B/16 (Dosovitskiy et al. 2021, arXiv:2010.11929).

An image is cut into patches of 16x16 pixels, and each is projected to a token of 768 features: a convolution as wide as
its stride. A learned class token comes first, and a learned position embedding is added (eq. 1 of the paper). Each of
twelve encoder blocks is ``z' = z + attention(norm(z))``, then ``z = z' + mlp(norm(z'))`` (eq. 2 and 3), with attention
in twelve heads and an exact GELU between the two layers of the perceptron. The classes are read off the normalised
class token (eq. 4). The loss is the mean softmax cross-entropy over the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fathom_onnx.workloads.config import Definition, setting
from fathom_onnx.workloads.contract import AdamW, Draw, Gradients, Initialiser, Layer, TensorSpec, Workload
from fathom_onnx.workloads.stack import Stack

__all__ = ["DEFINITION", "VitConfig", "build"]

_VIT = "Dosovitskiy et al. 2021"
_BASE = f"{_VIT}, table 1: ViT-Base"
_IMAGENET = f"{_VIT}, table 3: ViT-B on ImageNet"
_CODE = "google-research/vision_transformer, the authors' code"


@dataclass(frozen=True)
class VitConfig:
    """Hyper-parameters of vit."""

    batch: int = setting(64, f"ours: one of 64 workers' share of 4096 ({_VIT}, section 4.1)")
    image: int = setting(224, f"{_VIT}, table 3: the resolution of training")
    patch: int = setting(16, f"{_VIT}: ViT-B/16")
    classes: int = setting(1000, "ILSVRC 2012")
    layers: int = setting(12, _BASE)
    width: int = setting(768, f"{_BASE}: hidden size D")
    mlp: int = setting(3072, f"{_BASE}: MLP size")
    heads: int = setting(12, _BASE)
    dropout: float = setting(0.1, f"{_IMAGENET}: after every dense layer but query, key and value, and the positions")
    learning_rate: float = setting(3e-3, f"{_IMAGENET}: base rate")
    weight_decay: float = setting(0.3, _IMAGENET)
    clip_norm: float = setting(1.0, f"{_VIT}, section B.1: gradients clipped at global norm 1 on ImageNet")
    epsilon: float = setting(1e-6, f"{_CODE}: layer normalisation")
    deviation: float = setting(0.02, f"{_CODE}: position embeddings start normal with this deviation")

    @property
    def tokens(self) -> int:
        """Tokens of an image: its patches and the class token."""
        return (self.image // self.patch) ** 2 + 1


def build(preset: str, config: VitConfig) -> Workload:
    """The workload at one configuration.

    Raises:
        ValueError: The image is not whole patches, the width not whole heads, or the dropout rate keeps nothing.
    """
    c = config
    if c.image % c.patch:
        raise ValueError(f"image side {c.image} is not a multiple of the patch side {c.patch}")
    if c.width % c.heads:
        raise ValueError(f"width {c.width} is not a multiple of {c.heads} heads")
    stack = Stack()
    one = Initialiser.constant(1.0)
    tokens = (c.batch, c.tokens, c.width)

    def norm(name: str) -> None:
        stack.add(Layer(name, "layer norm"), one, weight=(c.width,), bias=(c.width,))

    def linear(name: str, inputs: int, outputs: int) -> None:
        stack.linear(name, inputs, outputs, Initialiser.glorot_uniform(inputs, outputs))

    patches = Initialiser("normal", math.sqrt(1 / (3 * c.patch**2)))  # LeCun et al. 1998: variance 1 / fan in
    stack.add(Layer("patches", "convolution"), patches, weight=(c.width, 3, c.patch, c.patch), bias=(c.width,))
    stack.add(Layer("class_token", "embedding"), weight=(1, 1, c.width))
    stack.add(Layer("positions", "embedding"), Initialiser("normal", c.deviation), weight=(1, c.tokens, c.width))
    stack.dropout("dropout", tokens, c.dropout)
    for number in range(c.layers):
        block = f"encoder.{number}"
        norm(f"{block}.norm1")
        for name in ("query", "key", "value"):
            linear(f"{block}.{name}", c.width, c.width)
        stack.plain(f"{block}.attention", "attention")
        linear(f"{block}.output", c.width, c.width)
        stack.dropout(f"{block}.dropout1", tokens, c.dropout)
        stack.plain(f"{block}.add1", "residual addition")
        norm(f"{block}.norm2")
        linear(f"{block}.mlp1", c.width, c.mlp)
        stack.plain(f"{block}.gelu", "gelu")
        stack.dropout(f"{block}.dropout2", (*tokens[:2], c.mlp), c.dropout)
        linear(f"{block}.mlp2", c.mlp, c.width)
        stack.dropout(f"{block}.dropout3", tokens, c.dropout)
        stack.plain(f"{block}.add2", "residual addition")
    norm("norm")
    linear("head", c.width, c.classes)
    return Workload(
        name="vit",
        preset=preset,
        config=c,
        features=(TensorSpec("images", (c.batch, 3, c.image, c.image), meaning="normalised RGB", draw=Draw("normal")),),
        targets=(TensorSpec("labels", (c.batch, c.classes), meaning="one-hot classes", draw=Draw("one_hot")),),
        noise={"training": tuple(stack.noise)},
        parameters=tuple(stack.parameters),
        outputs=(TensorSpec("logits", (c.batch, c.classes)),),
        layers=tuple(stack.layers),
        optimizer=AdamW(c.learning_rate, weight_decay=c.weight_decay),
        data="photographs",
        gradients=Gradients(clip_global_norm=c.clip_norm),
    )


_PAPER = VitConfig()

DEFINITION = Definition(
    name="vit",
    summary="vision transformer ViT-B/16, image classifier",
    presets={
        "paper": _PAPER,
        "small": replace(
            _PAPER, batch=16, image=32, patch=4, classes=100, layers=4, width=128, mlp=512, heads=4, learning_rate=1e-3
        ),
        "tiny": replace(
            _PAPER, batch=4, image=16, patch=8, classes=10, layers=2, width=32, mlp=64, heads=2, learning_rate=1e-3
        ),
    },
    build=build,
    fidelity="The classes are read by one linear layer, as the paper does where it fine-tunes and as published "
    "implementations do throughout; training from scratch it has a hidden layer in between. That layer starts "
    "Glorot-uniform and not at zero, so that the first step has gradients everywhere. The learning rate is constant: "
    "its warm-up and cosine decay are left out. Every parameter is decayed, biases and norms too, by AdamW's decoupled "
    "form. The small presets have smaller patches, so that small images have several.",
    papers=("Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, arXiv:2010.11929",),
)
"""The workload's definition: what it computes, its interface, its configuration at every preset."""
