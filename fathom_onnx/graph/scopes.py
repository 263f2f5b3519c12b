"""Layers of third-party graphs, derived from node names and metadata by their exporters' conventions.

There is one function per convention, from a node to its layer (None where the node does not follow the convention).
They are tried in the order of :data:`CONVENTIONS`. A layer is the path of the innermost module: ``layer1.0.conv1`` for
PyTorch, ``model/conv1`` for TensorFlow.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import onnx

__all__ = [
    "CONVENTIONS",
    "ROOT",
    "layers_of",
    "onnxruntime_quantizer",
    "tensorflow",
    "torch_dynamo",
    "torch_script",
]

ROOT = "(model)"
"""The layer of ops that stand in the model's own code, in none of its modules."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata key under which PyTorch's dynamo exporter writes a node's module paths, outermost first, then its op."""


def torch_dynamo(node: onnx.NodeProto) -> str | None:
    """PyTorch, ``torch.onnx.export(dynamo=True)``: module paths in the metadata.

    ``['', 'layer.0', 'layer.0.attention', 'layer.0.attention.query', 'linear']`` is ``layer.0.attention.query``.
    """
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    try:
        scopes = ast.literal_eval(text) if text else []
    except (SyntaxError, ValueError):
        return None
    if not isinstance(scopes, list) or not scopes:
        return None
    named = [str(scope) for scope in scopes[:-1] if scope]
    return named[-1] if named else ROOT


def torch_script(node: onnx.NodeProto) -> str | None:
    """PyTorch, ``torch.onnx.export(dynamo=False)``, and what is exported with it, such as Hugging Face models.

    A part of the name repeats the one before it where a container is indexed: ``/layer1/layer1.0/conv1/Conv`` is
    ``layer1.0.conv1``, ``/encoder/layer.0/attention/self/query/MatMul`` is ``encoder.layer.0.attention.self.query``.
    """
    if not node.name.startswith("/"):
        return None
    path: list[str] = []
    for part in [p for p in node.name.split("/") if p][:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path) or ROOT


_QUANTIZED_WEIGHT = re.compile(
    r"^(?:ConvBnFusion_(?:W|B|BN_B)_)?(.+)\.(?:weight|bias)(?:_quantized)?_(?:Deq|Q)uantizeLinear$"
)


def onnxruntime_quantizer(node: onnx.NodeProto) -> str | None:
    """``onnxruntime.quantization``: what it adds is named after the tensor it quantizes.

    ``fc.weight_DequantizeLinear`` is ``fc``; an activation's name is the path of the node that made it, and is read as
    the exporter's.
    """
    match = _QUANTIZED_WEIGHT.match(node.name)
    return match[1] if match and "/" not in node.name else None


_CALLS = re.compile(r"^(?:Stateful)?PartitionedCall(?:_\d+)?$")
"""Scopes that TensorFlow puts around a function's nodes."""

_OP_SCOPES = frozenset(
    ("batchnorm", "moments", "Tensordot", "dropout", "strided_slice", "einsum", "split", "stack", "concat", "BiasAdd")
)
"""TensorFlow scopes that belong to an op and not to a layer."""

_AGAIN = re.compile(r"_\d+$")


def tensorflow(node: onnx.NodeProto) -> str | None:
    """TensorFlow and Keras by tf2onnx: name scopes, the op last.

    ``StatefulPartitionedCall/model/conv1/Conv2D`` is ``model/conv1``; ``functional/bn_1/batchnorm/mul_1__6`` is
    ``functional/bn_1``, since ``batchnorm`` is a part of the op.
    """
    path = [part for part in node.name.split("/") if part][:-1]
    while path and _CALLS.match(path[0]):
        path.pop(0)
    while len(path) > 1 and _AGAIN.sub("", path[-1]) in _OP_SCOPES:
        path.pop()
    return "/".join(path) or None


CONVENTIONS: tuple[Callable[[onnx.NodeProto], str | None], ...] = (
    torch_dynamo,
    torch_script,
    onnxruntime_quantizer,
    tensorflow,
)
"""The conventions, the most telling first."""


def layers_of(nodes: Sequence[onnx.NodeProto]) -> list[str | None]:
    """The layer of each node of a graph; None for one whose name says nothing."""
    layers = [next((layer for rule in CONVENTIONS if (layer := rule(node)) is not None), None) for node in nodes]
    again = _called_again(nodes, layers)
    return [again.get(layer, layer) if layer is not None else None for layer in layers]


def _called_again(nodes: Sequence[onnx.NodeProto], layers: Sequence[str | None]) -> dict[str, str]:
    """Layers that are further calls of a module.

    PyTorch's older exporter numbers them (``relu_1`` is the second call of ``relu``). A module of that very name has
    weights that are called after it.
    """
    taken: dict[str, set[str]] = defaultdict(set)
    for node, layer in zip(nodes, layers, strict=True):
        if layer is not None and node.name.startswith("/"):
            taken[layer].update(node.input)
    base_of: dict[str, str] = {}
    for layer, inputs in taken.items():
        base = _AGAIN.sub("", layer)
        own = any(name.startswith(f"{layer}.") for name in inputs)
        if base != layer and base in taken and not own:
            base_of[layer] = base
    return base_of
