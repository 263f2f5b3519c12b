"""The number type in which an executed node computes: it decides which ceiling of arithmetic the node is held against.

It is the type of what is multiplied or added in the kernel and not that of the graph as written: a layer whose weights
are stored in 4 bits computes in float32, or in int8 if the kernel quantizes its activations as well.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from fathom_onnx.graph import Tensor

__all__ = ["compute_type"]

_AS_OUTPUT = frozenset({"DequantizeLinear", "Where", "GatherBlockQuantized", "Range", "OneHot", "MulInteger"})
"""Ops whose first input is a condition, a size or a packed number: they compute in the type of their output."""

_QUANTIZES = frozenset({"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
"""Ops that take floats and multiply 8-bit integers."""

_INT8_LEVEL = 4
"""``accuracy_level`` of a MatMulNBits that quantizes its activations to 8 bits; the CPU's kernels alone heed it."""

_EIGHT_BITS = frozenset({"int8", "uint8"})


def compute_type(node: onnx.NodeProto, tensors: Mapping[str, Tensor], provider: str) -> str:
    """The number type: ``float32``, ``float16``, ``int8`` (signed and unsigned), ...; empty where it is not known.

    Args:
        node: The executed node.
        tensors: Types of its tensors by name.
        provider: onnxruntime's name of the provider that ran it.
    """
    if node.op_type in _QUANTIZES:
        return "int8"
    if node.op_type == "MatMulNBits" and provider.startswith("CPU"):
        level = next((a.i for a in node.attribute if a.name == "accuracy_level"), 0)
        if level == _INT8_LEVEL:
            return "int8"
    names = [*node.output, *node.input] if node.op_type in _AS_OUTPUT else [*node.input, *node.output]
    found = (tensors.get(name) for name in names if name)
    dtype = next((tensor.dtype for tensor in found if tensor is not None and tensor.dtype), "")
    return "int8" if dtype in _EIGHT_BITS else dtype
