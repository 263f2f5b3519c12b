"""Timeloop problems: a YAML file for every distinct layer shape, and an index of the nodes.

The problem is the seven-dimensional convolution of Timeloop's examples, with groups (``G C M R S N P Q``; strides and
dilations are coefficients). A matrix product is such a problem with rows ``N``, columns ``M`` and summed dimension
``C``; its batch is ``G``, unless an operand is broadcast over the batch. A transposed convolution has the same
dimensions, but the outputs instead of the inputs are indexed by windows. A convolution of three axes has two more
dimensions, ``U`` for the kernel and ``T`` for the output; a problem states its own dimensions, so that Timeloop reads
it as well. Multiply-accumulates are the product of the dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fathom_onnx.convert.account import account
from fathom_onnx.convert.contractions import Contraction
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.layers import Layer, layers, no_layers
from fathom_onnx.convert.matrix_products import MatrixProduct
from fathom_onnx.graph import Graph

from .yaml_text import yaml_bytes

__all__ = ["DIMENSIONS", "convert"]

DIMENSIONS = ("G", "C", "M", "R", "S", "N", "P", "Q")
"""Groups, input and output channels per group, kernel rows and columns, batch, output rows and columns."""

_AXES = (("R", "P", "H"), ("S", "Q", "W"), ("U", "T", "D"))
"""By spatial axis: the dimensions of kernel and output, and the beginning of the coefficients' names."""

_NOTES = (
    "Files are numbered by different layers; the index names the file of each node, in the graph's order.",
    "Images are with their padding; windows that padding cuts short are counted whole, as in the cost model.",
    "A matrix product's batch is G; where one operand is the same for the whole batch, the other's batch is in N or M.",
)


def _coefficients(axes: int) -> list[str]:
    letters = [letter for _, _, letter in _AXES[:axes]]
    return [f"{letter}{what}" for what in ("stride", "dilation") for letter in letters]


def _dimensions(axes: int) -> list[str]:
    return [*DIMENSIONS, *(("U", "T") if axes > 2 else ())]


def _shape(transposed: bool, axes: int) -> dict[str, Any]:
    windows = [[[r, f"{letter}dilation"], [p, f"{letter}stride"]] for r, p, letter in _AXES[:axes]]
    points = [[[p]] for _, p, _ in _AXES[:axes]]
    taps = [[[r]] for r, _, _ in _AXES[:axes]]
    channels = {"image": [[["N"]], [["G"]], [["C"]]], "output": [[["N"]], [["G"]], [["M"]]]}
    return {
        "name": "transposed-convolution" if transposed else "convolution",
        "dimensions": _dimensions(axes),
        "coefficients": [{"name": name, "default": 1} for name in _coefficients(axes)],
        "data-spaces": [
            {"name": "Weights", "projection": [[["G"]], [["C"]], [["M"]], *taps]},
            {"name": "Inputs", "projection": [*channels["image"], *(points if transposed else windows)]},
            {
                "name": "Outputs",
                "projection": [*channels["output"], *(windows if transposed else points)],
                "read-write": True,
            },
        ],
    }


@dataclass(frozen=True)
class _Problem:
    """A problem: what it is, and the sizes of its dimensions and coefficients."""

    transposed: bool
    axes: int
    sizes: tuple[tuple[str, int], ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(size for name, size in self.sizes if name in _dimensions(self.axes))

    @property
    def content(self) -> dict[str, Any]:
        """The problem as it is written."""
        return {"problem": {"shape": _shape(self.transposed, self.axes), "instance": dict(self.sizes)}}


def _convolution(nest: Contraction) -> _Problem:
    """A convolution of one spatial axis has one column."""
    axes = max(nest.spatial, 2)
    sizes = {name: nest.size(name.lower()) for name in _dimensions(axes)}
    steps = [*(*nest.strides, 1)[:axes], *(*nest.dilations, 1)[:axes]]
    sizes |= dict(zip(_coefficients(axes), steps, strict=True))
    return _Problem(nest.transposed, axes, tuple(sizes.items()))


def _product(product: MatrixProduct) -> _Problem:
    sizes = dict.fromkeys([*DIMENSIONS, *_coefficients(2)], 1)
    sizes |= {"G": product.times, "C": product.k, "M": product.n, "N": product.m}
    return _Problem(False, 2, tuple(sizes.items()))


def _problems(layer: Layer) -> list[_Problem]:
    """A convolution as it is; anything else as its matrix products."""
    return [_convolution(layer.convolution)] if layer.convolution else [_product(part) for part in layer.products]


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A YAML index, and a problem file for every distinct layer shape.

    Raises:
        GraphError: The graph has no convolution and no matrix product of known shape.
    """
    kept, left_out = layers(graph)
    if not kept:
        raise no_layers(graph)
    numbers: dict[_Problem, int] = {}
    rows: list[dict[str, object]] = []
    for layer in kept:
        for problem in _problems(layer):
            number = numbers.setdefault(problem, len(numbers) + 1)
            file = f"{request.stem}.problem{number:04}.yaml"
            rows.append({"node": layer.name, "problem": file, "macs": problem.macs})
    files = {".timeloop.yaml": yaml_bytes({"layers": rows}, f"Layers of '{graph.name}', written by fathom-onnx")}
    files |= {f".problem{number:04}.yaml": yaml_bytes(problem.content) for problem, number in numbers.items()}
    counted = account(graph, left_out)
    return Conversion(files, counted.kept, counted.total, counted.left_out, _NOTES)
