"""What the language models of this suite share: the layers of a decoder's block, its sizes and its inputs.

A decoder embeds tokens, passes them through equal blocks, normalises, and projects to the vocabulary. A block is
attention and a feed-forward part, each after a normalisation by the root mean square (Zhang and Sennrich 2019) and each
added to what it read:

    x = x + output(attention(rotated(query(norm(x))), rotated(key(norm(x))), value(norm(x))))
    x = x + feed(norm(x))

**Rotary embedding** (Su et al. 2021). With ``angle[t, i] = t * theta^(-2i / d)``, of a head's d elements the pair
(x_i, x_(i + d/2)) is turned by the angle of its place t. **Grouped-query attention** (Ainslie et al. 2023): several
query heads, one after the other, share a head of keys and values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from fathom_onnx.workloads.contract import (
    AdamW,
    Array,
    Draw,
    Gradients,
    Initialiser,
    Layer,
    TensorSpec,
    Variable,
    Workload,
)
from fathom_onnx.workloads.stack import Stack

__all__ = [
    "POSITION",
    "SPREAD",
    "DecoderConfig",
    "caches",
    "decoder",
    "linear",
    "logits",
    "rotary_frequencies",
    "token_input",
]

POSITION = "position.index"
"""The variable that counts the places of a decoder's cache that are filled."""

SPREAD = Initialiser("normal", 0.02)
"""How matrices start: normal with the deviation of the released models' configuration."""


class DecoderConfig(Protocol):
    """The sizes of a decoder."""

    @property
    def batch(self) -> int:
        """Sequences."""

    @property
    def length(self) -> int:
        """Tokens of a sequence, or places of a cache."""

    @property
    def vocabulary(self) -> int:
        """Tokens there are."""

    @property
    def width(self) -> int:
        """Elements of a token's vector between blocks."""

    @property
    def layers(self) -> int:
        """Blocks."""

    @property
    def heads(self) -> int:
        """Query heads."""

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""

    @property
    def hidden(self) -> int:
        """Hidden units of a feed-forward part."""

    @property
    def theta(self) -> float:
        """Base of the rotary embedding's frequencies."""

    @property
    def epsilon(self) -> float:
        """Added to a mean square."""

    @property
    def learning_rate(self) -> float:
        """Of AdamW."""

    @property
    def beta1(self) -> float:
        """Decay of AdamW's mean of gradients."""

    @property
    def beta2(self) -> float:
        """Decay of AdamW's mean of squares."""

    @property
    def adam_epsilon(self) -> float:
        """Added to the root of AdamW's mean of squares."""

    @property
    def weight_decay(self) -> float:
        """Of AdamW, on all parameters."""

    @property
    def clip(self) -> float:
        """The largest global norm of the gradients."""


def _check_heads(c: DecoderConfig) -> None:
    """Refuse sizes that do not divide.

    Raises:
        ValueError: The width is not heads of an even size, or the query heads are not in equal groups.
    """
    if c.width % c.heads or c.width // c.heads % 2:
        raise ValueError(f"a width of {c.width} is not {c.heads} heads of an even size")
    if c.heads % c.kv_heads:
        raise ValueError(f"{c.heads} query heads are not in equal groups of {c.kv_heads}")


def rotary_frequencies(c: DecoderConfig) -> Array:
    """``theta^(-2i / d)`` of each pair of a head of d elements, [d / 2] in float64."""
    size = c.width // c.heads
    frequencies: Array = c.theta ** (-np.arange(0, size, 2) / size)
    return frequencies


def linear(stack: Stack, name: str, inputs: int, outputs: int) -> None:
    """Add a linear layer without a bias; its weight is [outputs, inputs]."""
    stack.add(Layer(name, "linear"), SPREAD, weight=(outputs, inputs))


def _norm(stack: Stack, name: str, width: int) -> None:
    """Add a normalisation by the root mean square."""
    stack.add(Layer(name, "rms norm"), Initialiser.constant(1.0), weight=(width,))


def _attention_part(stack: Stack, c: DecoderConfig, block: str) -> None:
    """Add the layers of a block's attention."""
    size = c.width // c.heads
    _norm(stack, f"{block}.attention_norm", c.width)
    linear(stack, f"{block}.query", c.width, c.width)
    linear(stack, f"{block}.key", c.width, c.kv_heads * size)
    linear(stack, f"{block}.value", c.width, c.kv_heads * size)
    stack.plain(f"{block}.rotary", "rotary embedding")
    stack.plain(f"{block}.cache", "key and value cache")
    stack.plain(f"{block}.attention", "grouped-query attention")
    linear(stack, f"{block}.output", c.width, c.width)
    stack.plain(f"{block}.attention_add", "residual addition")


def _layers(c: DecoderConfig, feed: Callable[[Stack, str], None]) -> Stack:
    """The layers of the whole model."""
    stack = Stack()
    stack.add(Layer("embedding", "embedding"), SPREAD, weight=(c.vocabulary, c.width))
    stack.plain("position", "position")
    stack.plain("angles", "rotary angles")
    stack.plain("mask", "causal mask")
    for number in range(1, c.layers + 1):
        block = f"block{number}"
        _attention_part(stack, c, block)
        _norm(stack, f"{block}.feed_norm", c.width)
        feed(stack, block)
        stack.plain(f"{block}.feed_add", "residual addition")
    _norm(stack, "norm", c.width)
    linear(stack, "head", c.width, c.vocabulary)
    return stack


def token_input(c: DecoderConfig, name: str, length: int, meaning: str) -> TensorSpec:
    """An input of tokens [batch, length]."""
    return TensorSpec(name, (c.batch, length), "int64", meaning, Draw("integers", 0, c.vocabulary))


def logits(c: DecoderConfig, length: int) -> TensorSpec:
    """The output: logits of the token after each."""
    return TensorSpec("logits", (c.batch, length, c.vocabulary), meaning="of the token after each")


def _cache_names(c: DecoderConfig) -> list[str]:
    """Names of the caches: keys and values of each block."""
    return [f"block{number}.cache.{part}" for number in range(1, c.layers + 1) for part in ("keys", "values")]


def _cache_shape(c: DecoderConfig) -> tuple[int, int, int, int]:
    """[sequences, heads, places, elements of a head]."""
    return (c.batch, c.kv_heads, c.length, c.width // c.heads)


def caches(c: DecoderConfig) -> tuple[Variable, ...]:
    """The variables that decoding carries: the position, and keys (rotated) and values of all places."""
    zero = Initialiser.constant(0.0)
    held = tuple(Variable(name, _cache_shape(c), zero) for name in _cache_names(c))
    return (Variable(POSITION, (), zero, "int64"), *held)


def decoder(name: str, preset: str, c: DecoderConfig, feed: Callable[[Stack, str], None]) -> Workload:
    """The workload of training a decoder on whole sequences, and of prefill, its inference.

    Args:
        name: The workload's name.
        preset: The preset's name.
        c: The configuration.
        feed: Adds the layers of a block's feed-forward part, between its normalisation and its addition.

    Raises:
        ValueError: The sizes of heads do not divide.
    """
    _check_heads(c)
    stack = _layers(c, feed)
    held = tuple(TensorSpec(cache, _cache_shape(c), meaning="of every place") for cache in _cache_names(c))
    return Workload(
        name=name,
        preset=preset,
        config=c,
        features=(token_input(c, "tokens", c.length, "consecutive tokens"),),
        targets=(token_input(c, "labels", c.length, "the token after each"),),
        parameters=tuple(stack.parameters),
        outputs=(logits(c, c.length), *held),
        layers=tuple(stack.layers),
        optimizer=AdamW(c.learning_rate, c.beta1, c.beta2, c.adam_epsilon, c.weight_decay),
        data="tokens",
        gradients=Gradients(clip_global_norm=c.clip),
    )
