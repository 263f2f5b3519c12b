"""Multiply-accumulates of the suite of 2026 by closed formulas, layer by layer, from a configuration's sizes alone.

Nothing here looks at a graph or knows how one is counted. A product of matrices, or a convolution, has as many
multiply-accumulates for the gradient of each operand as it has itself; a step computes those that a parameter depends
on: of the first layer not that of the data, of a mask or a choice none. Attention computes the scores that it masks,
and an expert all of its slots, whether a token is there or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["MODERN", "closed_macs"]


@dataclass(frozen=True)
class Product:
    """One product of matrices, or convolution, or several of a layer.

    Attributes:
        layer: Its layer.
        macs: Multiply-accumulates of the forward pass.
        gradients: Operands whose gradients a training step computes.
    """

    layer: str
    macs: int
    gradients: int = 2


def _attention_part(c: Any, block: str, tokens: int, places: int) -> Iterator[Product]:
    """Projections of tokens, and the scores and values of all places for every query head."""
    shared = c.kv_heads * (c.width // c.heads)
    for layer, outputs in (("query", c.width), ("key", shared), ("value", shared), ("output", c.width)):
        yield Product(f"{block}.{layer}", tokens * c.width * outputs)
    yield Product(f"{block}.attention", 2 * tokens * places * c.width)


def _llama(c: Any, mode: Mode, length: int = 0) -> Iterator[Product]:
    tokens = c.batch * (length or c.length)
    for block in (f"block{n}" for n in range(1, c.layers + 1)):
        yield from _attention_part(c, block, tokens, c.length)
        for layer in ("gate", "up", "down"):
            yield Product(f"{block}.{layer}", tokens * c.width * c.hidden)
    yield Product("head", tokens * c.width * c.vocabulary)


def _decode(c: Any, mode: Mode) -> Iterator[Product]:
    return _llama(c, mode, length=1)


def _mixtral(c: Any, mode: Mode) -> Iterator[Product]:
    """The choice of an expert and of a slot have no gradients; a choice's weight has."""
    tokens = c.batch * c.length
    slots = min(-int(-c.capacity * tokens * 2 // c.experts), tokens)
    places = c.experts * slots
    for block in (f"block{n}" for n in range(1, c.layers + 1)):
        yield from _attention_part(c, block, tokens, c.length)
        yield Product(f"{block}.router", tokens * c.width * c.experts)
        yield Product(f"{block}.dispatch", tokens * 2 * places, gradients=0)
        yield Product(f"{block}.dispatch", tokens * places * c.width, gradients=1)
        for layer in ("gate", "up", "down"):
            yield Product(f"{block}.{layer}", places * c.width * c.hidden)
        yield Product(f"{block}.combine", tokens * 2 * places, gradients=1)
        yield Product(f"{block}.combine", tokens * places * c.width)
    yield Product("head", tokens * c.width * c.vocabulary)


def _vit(c: Any, mode: Mode) -> Iterator[Product]:
    patches = (c.image // c.patch) ** 2
    tokens = c.batch * (patches + 1)
    yield Product("patches", c.batch * patches * c.width * 3 * c.patch**2, gradients=1)
    for block in (f"encoder.{n}" for n in range(c.layers)):
        for layer in ("query", "key", "value", "output"):
            yield Product(f"{block}.{layer}", tokens * c.width**2)
        yield Product(f"{block}.attention", 2 * tokens * (patches + 1) * c.width)
        yield Product(f"{block}.mlp1", tokens * c.width * c.mlp)
        yield Product(f"{block}.mlp2", tokens * c.mlp * c.width)
    yield Product("head", c.batch * c.width * c.classes)


def _unet(c: Any, mode: Mode) -> Iterator[Product]:
    side, channels, kept = c.image, c.width, [c.width]

    def conv(layer: str, inputs: int, outputs: int, kernel: int = 3, gradients: int = 2) -> Product:
        return Product(layer, c.batch * side**2 * inputs * outputs * kernel**2, gradients)

    def block(name: str, inputs: int, outputs: int, attends: bool) -> Iterator[Product]:
        yield conv(f"{name}.conv1", inputs, outputs)
        yield Product(f"{name}.time", c.batch * 4 * c.width * outputs)
        yield conv(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            yield conv(f"{name}.shortcut", inputs, outputs, 1)
        if attends:
            for layer in ("query", "key", "value", "output"):
                yield conv(f"{name}.attention.{layer}", outputs, outputs, 1)
            yield Product(f"{name}.attention.read", 2 * c.batch * side**4 * outputs)

    yield Product("time.linear1", c.batch * c.width * 4 * c.width, gradients=1)
    yield Product("time.linear2", c.batch * (4 * c.width) ** 2)
    yield conv("conv_in", 3, c.width, gradients=1)
    levels = list(enumerate(c.multiples))
    for level, multiple in levels:
        for index in range(c.blocks):
            yield from block(f"down{level}.{index}", channels, multiple * c.width, side == c.attention)
            channels = multiple * c.width
            kept.append(channels)
        if level < len(levels) - 1:
            side //= 2
            yield conv(f"down{level}.resample", channels, channels)
            kept.append(channels)
    yield from block("middle.0", channels, channels, True)
    yield from block("middle.1", channels, channels, False)
    for level, multiple in reversed(levels):
        for index in range(c.blocks + 1):
            joined = channels + kept.pop()
            yield from block(f"up{level}.{index}", joined, multiple * c.width, side == c.attention)
            channels = multiple * c.width
        if level:
            side *= 2
            yield conv(f"up{level}.resample", channels, channels)
    yield conv("conv_out", channels, 3)


def _dlrm(c: Any, mode: Mode) -> Iterator[Product]:
    """Reading a table has no products; each vector meets every other, and itself, twice."""
    vectors = len(c.rows) + 1
    widths = {
        "bottom": (c.dense, *c.bottom),
        "top": (c.embedding + vectors * (vectors - 1) // 2, *c.top),
    }
    for name, sizes in widths.items():
        for index in range(len(sizes) - 1):
            of_data = name == "bottom" and index == 0
            yield Product(f"{name}.{2 * index}", c.batch * sizes[index] * sizes[index + 1], 1 if of_data else 2)
    yield Product("interaction", c.batch * vectors**2 * c.embedding)


def _gat(c: Any, mode: Mode) -> Iterator[Product]:
    """Scores of edges and sums over them are no products of matrices."""
    nodes = [c.batch]
    for fanout in c.fanouts or (0,) * len(c.heads):
        nodes.append(nodes[-1] * (fanout + 1))
    inputs = c.features
    for number, heads in enumerate(c.heads):
        sources, targets = nodes[len(c.heads) - number], nodes[len(c.heads) - number - 1]
        last = number == len(c.heads) - 1
        outputs = c.classes if last else c.hidden[number]
        width = outputs if last else heads * outputs
        gradients = 2 if number else 1
        yield Product(f"layers.{number}.linear", sources * inputs * heads * outputs, gradients)
        if c.skips:
            yield Product(f"layers.{number}.skip", targets * inputs * width, gradients)
        inputs = width


def _mamba(c: Any, mode: Mode) -> Iterator[Product]:
    """The four products of listing 1 of the paper; the scores of B and C are those of all heads."""
    tokens, chunks = c.batch * c.length, c.length // c.chunk
    inner, mixed = c.expand * c.width, c.expand * c.width + 2 * c.state
    heads = inner // c.head
    for mixer in (f"layers.{n}.mixer" for n in range(c.blocks)):
        yield Product(f"{mixer}.in_proj", tokens * c.width * (inner + mixed + heads))
        yield Product(f"{mixer}.conv1d", tokens * mixed * c.kernel)
        within = tokens * c.chunk * (c.state + inner)
        states = tokens * c.state * inner
        between = c.batch * chunks**2 * c.state * inner
        yield Product(f"{mixer}.ssd", within + 2 * states + between)
        yield Product(f"{mixer}.out_proj", tokens * inner * c.width)
    yield Product("lm_head", tokens * c.width * c.vocabulary)


def _ppo(c: Any, mode: Mode) -> Iterator[Product]:
    """A training step also asks the critic, without gradients, what comes after the segment."""
    networks = {"actor": "mean", "critic": "value"}
    sizes = [3, *c.hidden, 1]
    for network, output in networks.items():
        names = [*(f"hidden{n}" for n in range(1, len(c.hidden) + 1)), output]
        for index, name in enumerate(names):
            one = sizes[index] * sizes[index + 1]
            rows = c.batch if mode == "training" else c.actors
            yield Product(f"{network}.{name}", rows * one, 2 if index else 1)
            if mode == "training" and network == "critic":
                yield Product(f"{network}.{name}", c.actors * one, gradients=0)


_FORMULAS: Mapping[str, Callable[[Any, Mode], Iterator[Product]]] = {
    "llama": _llama,
    "llama-decode": _decode,
    "mixtral": _mixtral,
    "vit": _vit,
    "unet": _unet,
    "dlrm": _dlrm,
    "gat": _gat,
    "mamba": _mamba,
    "ppo": _ppo,
}

MODERN = tuple(_FORMULAS)
"""The workloads that there are formulas for."""


def closed_macs(workload: Workload, mode: Mode) -> Counter[tuple[str, str]]:
    """Multiply-accumulates by phase (``forward`` or ``backward``) and layer, where there are any."""
    found: Counter[tuple[str, str]] = Counter()
    for product in _FORMULAS[workload.name](workload.config, mode):
        found["forward", product.layer] += product.macs
        if mode == "training" and product.gradients:
            found["backward", product.layer] += product.gradients * product.macs
    return found
