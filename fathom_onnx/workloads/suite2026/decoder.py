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

from typing import Protocol

from fathom_onnx.workloads.contract import Draw, Initialiser, Layer, TensorSpec, Variable
from fathom_onnx.workloads.stack import Stack

__all__ = [
    "POSITION",
    "DecoderConfig",
    "attention_part",
    "begin",
    "cache_names",
    "cache_shape",
    "caches",
    "check_heads",
    "end",
    "linear",
    "logits",
    "norm",
    "token_input",
]

POSITION = "position.index"
"""The variable that counts the places of a decoder's cache that are filled."""

_SPREAD = Initialiser("normal", 0.02)
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


def check_heads(c: DecoderConfig) -> None:
    """Refuse sizes that do not divide.

    Raises:
        ValueError: The width is not heads of an even size, or the query heads are not in equal groups.
    """
    if c.width % c.heads or c.width // c.heads % 2:
        raise ValueError(f"a width of {c.width} is not {c.heads} heads of an even size")
    if c.heads % c.kv_heads:
        raise ValueError(f"{c.heads} query heads are not in equal groups of {c.kv_heads}")


def linear(stack: Stack, name: str, inputs: int, outputs: int) -> None:
    """Add a linear layer without a bias; its weight is [outputs, inputs]."""
    stack.add(Layer(name, "linear"), _SPREAD, weight=(outputs, inputs))


def norm(stack: Stack, name: str, width: int) -> None:
    """Add a normalisation by the root mean square."""
    stack.add(Layer(name, "rms norm"), Initialiser.constant(1.0), weight=(width,))


def begin(stack: Stack, c: DecoderConfig) -> None:
    """Add what comes before the blocks."""
    stack.add(Layer("embedding", "embedding"), _SPREAD, weight=(c.vocabulary, c.width))
    stack.plain("position", "position")
    stack.plain("angles", "rotary angles")
    stack.plain("mask", "causal mask")


def attention_part(stack: Stack, c: DecoderConfig, block: str) -> None:
    """Add the layers of a block's attention."""
    size = c.width // c.heads
    norm(stack, f"{block}.attention_norm", c.width)
    linear(stack, f"{block}.query", c.width, c.width)
    linear(stack, f"{block}.key", c.width, c.kv_heads * size)
    linear(stack, f"{block}.value", c.width, c.kv_heads * size)
    stack.plain(f"{block}.rotary", "rotary embedding")
    stack.plain(f"{block}.cache", "key and value cache")
    stack.plain(f"{block}.attention", "grouped-query attention")
    linear(stack, f"{block}.output", c.width, c.width)
    stack.plain(f"{block}.attention_add", "residual addition")


def end(stack: Stack, c: DecoderConfig) -> None:
    """Add what comes after the blocks."""
    norm(stack, "norm", c.width)
    linear(stack, "head", c.width, c.vocabulary)


def token_input(c: DecoderConfig, name: str, length: int, meaning: str) -> TensorSpec:
    """An input of tokens [batch, length]."""
    return TensorSpec(name, (c.batch, length), "int64", meaning, Draw("integers", 0, c.vocabulary))


def logits(c: DecoderConfig, length: int) -> TensorSpec:
    """The output: logits of the token after each."""
    return TensorSpec("logits", (c.batch, length, c.vocabulary), meaning="of the token after each")


def cache_names(c: DecoderConfig) -> list[str]:
    """Names of the caches: keys and values of each block."""
    return [f"block{number}.cache.{part}" for number in range(1, c.layers + 1) for part in ("keys", "values")]


def cache_shape(c: DecoderConfig) -> tuple[int, int, int, int]:
    """[sequences, heads, places, elements of a head]."""
    return (c.batch, c.kv_heads, c.length, c.width // c.heads)


def caches(c: DecoderConfig) -> tuple[Variable, ...]:
    """The variables that decoding carries: the position, and keys (rotated) and values of all places."""
    zero = Initialiser.constant(0.0)
    held = tuple(Variable(name, cache_shape(c), zero) for name in cache_names(c))
    return (Variable(POSITION, (), zero, "int64"), *held)
