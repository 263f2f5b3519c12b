"""Timeloop problems: a YAML file for every distinct layer shape, and an index of the nodes.

The problem is the seven-dimensional convolution of Timeloop's examples, with groups (``G C M R S N P Q``; strides and
dilations are coefficients). A matrix product is such a problem with rows ``N``, columns ``M`` and summed dimension
``C``; its batch is ``G``, unless an operand is broadcast over the batch. A transposed convolution has the same
dimensions, but the outputs instead of the inputs are indexed by windows. Multiply-accumulates are the product of the
dimensions.
"""

from __future__ import annotations

from typing import Any

from fathom_onnx.convert.account import account
from fathom_onnx.convert.contractions import Contraction, contractions, no_contractions, other_nodes
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.graph import Graph

from .yaml_text import yaml_bytes

__all__ = ["DIMENSIONS", "convert"]

DIMENSIONS = ("G", "C", "M", "R", "S", "N", "P", "Q")
"""Groups, input and output channels per group, kernel rows and columns, batch, output rows and columns."""

_COEFFICIENTS = ("Hstride", "Wstride", "Hdilation", "Wdilation")
_ROWS, _COLUMNS = [["R", "Hdilation"], ["P", "Hstride"]], [["S", "Wdilation"], ["Q", "Wstride"]]

_NOTES = (
    "Files are numbered by different layers; the index names the file of each node, in the graph's order.",
    "Images are with their padding; windows that padding cuts short are counted whole, as in the cost model.",
    "A matrix product's batch is G; where one operand is the same for the whole batch, the other's batch is in N or M.",
)


def _shape(transposed: bool) -> dict[str, Any]:
    windows, points = [_ROWS, _COLUMNS], [[["P"]], [["Q"]]]
    channels = {"image": [[["N"]], [["G"]], [["C"]]], "output": [[["N"]], [["G"]], [["M"]]]}
    return {
        "name": "transposed-convolution" if transposed else "convolution",
        "dimensions": list(DIMENSIONS),
        "coefficients": [{"name": name, "default": 1} for name in _COEFFICIENTS],
        "data-spaces": [
            {"name": "Weights", "projection": [[["G"]], [["C"]], [["M"]], [["R"]], [["S"]]]},
            {"name": "Inputs", "projection": [*channels["image"], *(points if transposed else windows)]},
            {
                "name": "Outputs",
                "projection": [*channels["output"], *(windows if transposed else points)],
                "read-write": True,
            },
        ],
    }


def _instance(nest: Contraction) -> dict[str, int]:
    """Dimensions and coefficients of a layer; a convolution of one spatial axis has one column."""
    sizes = dict(zip(DIMENSIONS, (nest.size(v) for v in ("g", "c", "m", "r", "s", "n", "p", "q")), strict=True))
    if nest.spatial:
        strides, dilations = (*nest.strides, 1), (*nest.dilations, 1)
        return sizes | dict(zip(_COEFFICIENTS, (*strides[:2], *dilations[:2]), strict=True))
    batch_axes = {name for name, size in nest.sizes.items() if name.startswith("b") and size > 1}
    # a batch axis over which one operand is broadcast counts as rows or columns of the other operand
    image_broadcast, weights_broadcast = (
        batch_axes - {name for axis in operand.axes for name, _ in axis} for operand in (nest.image, nest.weights)
    )
    rows, columns = nest.size(*weights_broadcast), nest.size(*image_broadcast)
    batch = nest.size(*(batch_axes - image_broadcast - weights_broadcast))
    return sizes | {"G": batch, "N": sizes["N"] * rows, "M": sizes["M"] * columns} | dict.fromkeys(_COEFFICIENTS, 1)


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A YAML index, and a problem file for every distinct layer shape.

    Raises:
        GraphError: The graph has no convolution (of one or two axes) and no matrix product of known shapes.
    """
    left_out = other_nodes(graph)
    numbers: dict[tuple[bool, tuple[tuple[str, int], ...]], int] = {}
    rows: list[dict[str, object]] = []
    for nest in contractions(graph):
        if nest.spatial > 2:
            left_out[nest.index] = "a convolution of three axes"
            continue
        key = nest.op_type == "ConvTranspose", tuple(_instance(nest).items())
        number = numbers.setdefault(key, len(numbers) + 1)
        rows.append({"node": nest.name, "problem": f"{request.stem}.problem{number:04}.yaml", "macs": nest.macs})
    if not rows:
        raise no_contractions(graph)
    files = {".timeloop.yaml": yaml_bytes({"layers": rows}, f"Layers of '{graph.name}', written by fathom-onnx")}
    for (transposed, instance), number in numbers.items():
        problem = {"problem": {"shape": _shape(transposed), "instance": dict(instance)}}
        files[f".problem{number:04}.yaml"] = yaml_bytes(problem)
    counted = account(graph, left_out)
    return Conversion(files, counted.kept, counted.total, counted.left_out, _NOTES)
