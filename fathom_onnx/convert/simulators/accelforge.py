"""AccelForge workloads: a YAML file with an einsum for every convolution, matrix product and einsum of two operands.

A node that is several products (a recurrent layer, attention) is an einsum for each, on tensors of its own.
The ranks of a tensor are named after its axes in the graph (``D0``, ``D1``, ...), so that a tensor has the same ranks
in all einsums that read it, and an einsum that reads the result of another is connected to it. The form is that of
accelforge 1.0 (``accelforge.frontend.workload``).
"""

from __future__ import annotations

import re

from fathom_onnx.analysis.cost.bytes_moved import size_of
from fathom_onnx.convert.account import account
from fathom_onnx.convert.contractions import Axis, Contraction, Operand, product_nest
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.convert.layers import Layer, layers, no_layers
from fathom_onnx.graph import Graph, Tensor

from .names import UniqueNames
from .yaml_text import yaml_bytes

__all__ = ["convert"]

_NOTES = (
    "Images are with their padding; windows that padding cuts short are counted whole, as in the cost model.",
    "Einsums are connected where one reads the very tensor that another wrote; ops between them are left out.",
    "A node that is no einsum itself is its matrix products, on tensors of its own: NAME.left, NAME.right, NAME.out.",
)

_RESERVED = frozenset(
    ("All", "Above", "Inputs", "Intermediates", "Nothing", "Outputs", "Persistent", "Shared", "Tensors", "Total")
)
"""Names with a meaning of their own in AccelForge's set expressions and tables."""


def _clean(name: str) -> str:
    """A name that AccelForge can read in expressions: letters, digits, ``_``."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    # single lower-case letters are loop variables
    return plain if re.match(r"[A-Za-z]\w", plain) else f"t_{plain}"


def _expression(axis: Axis) -> str:
    return "+".join(name if factor == 1 else f"{factor}*{name}" for name, factor in axis)


def _bits(graph: Graph, tensor: str) -> int:
    """Bits of an element of a tensor; 8 where its type is not known."""
    # eight elements have as many bytes as one has bits
    return size_of(Tensor(tensor, (8,), graph.tensors[tensor].dtype if tensor in graph.tensors else "")) or 8


def _nests(layer: Layer) -> tuple[Contraction, ...]:
    """A layer as loop nests: itself where it is one, its matrix products otherwise."""
    if layer.nest is not None:
        return (layer.nest,)
    single = len(layer.products) == 1
    return tuple(
        product_nest(layer.node, layer.index, layer.name if single else f"{layer.name}.{number}", product)
        for number, product in enumerate(layer.products, 1)
    )


def _access(operand: Operand, graph: Graph, names: UniqueNames, output: bool = False) -> dict[str, object]:
    access: dict[str, object] = {
        "name": names.of(operand.tensor),
        "projection": {f"D{number}": _expression(axis) for number, axis in enumerate(operand.axes)},
        "bits_per_value": _bits(graph, operand.typed_as or operand.tensor),
    }
    return {**access, "output": True} if output else access


def _einsum(nest: Contraction, graph: Graph, tensors: UniqueNames, einsums: UniqueNames) -> dict[str, object]:
    weights = nest.weights
    accesses = [_access(nest.image, graph, tensors), _access(nest.output, graph, tensors, output=True)]
    second = _access(weights, graph, tensors)
    if weights.tensor == nest.image.tensor:
        # a tensor times itself: an einsum can name a tensor only once
        second["name"] = tensors.of(f"{weights.tensor} again")
    accesses.insert(1, second)
    return {
        "name": einsums.new(nest.name),
        "tensor_accesses": accesses,
        "iteration_space_shape": [f"0 <= {name} < {size}" for name, size in nest.sizes.items()],
        "renames": {"input": accesses[0]["name"], "weight": accesses[1]["name"], "output": accesses[2]["name"]},
    }


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """One YAML file with the workload.

    Raises:
        GraphError: The graph has no convolution and no matrix product of known shape.
    """
    kept, left_out = layers(graph)
    if not kept:
        raise no_layers(graph)
    tensors, einsums = (UniqueNames(_clean, "_", _RESERVED) for _ in range(2))
    nests = [nest for layer in kept for nest in _nests(layer)]
    workload = {"workload": {"einsums": [_einsum(nest, graph, tensors, einsums) for nest in nests]}}
    counted = account(graph, left_out)
    text = yaml_bytes(workload, f"AccelForge workload of '{graph.name}', written by fathom-onnx")
    return Conversion({".accelforge.yaml": text}, counted.kept, counted.total, counted.left_out, _NOTES)
