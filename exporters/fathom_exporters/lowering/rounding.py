"""Numbers of double precision that become constants of float32: the file says what they were.

1/9 of a mean or 0.9189385332046727 of a likelihood are off by up to 6e-8 in a file, and where terms cancel that is all
that is left. Tensors remember what was rounded while the graph is made, and its metadata say it for those numbers that
the float32 is not (nor its shortest decimal, of tensors of one number), so that a reading in float64 has the numbers of
the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = [
    "exact_number",
    "narrow_constants",
    "note",
    "remembers",
    "rounded",
    "rounded_numbers",
    "single_numbers",
    "widen_constants",
]

_BEFORE = "before rounding"
_MOST = 256
"""Different numbers of one tensor that are remembered at most: tables of sines stay as they are."""

_CLOSE = 1e-13
"""Relative difference of numbers that are told apart: ``1 - 0.9`` is 0.1 but for the rounding of double precision."""


def rounded(values: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> ir.TensorProtocol:
    """A tensor of a number type, which remembers the numbers that were rounded."""
    with np.errstate(over="ignore"):
        tensor = ir.Tensor(values.astype(dtype))
    note(tensor, values)
    return tensor


def note(tensor: ir.TensorProtocol, values: np.ndarray[Any, Any] | float) -> None:
    """Remember what the numbers of a tensor of float32 were; nothing for other types."""
    numbers = np.asarray(values)
    if tensor.dtype != ir.DataType.FLOAT or numbers.dtype != np.float64:
        return
    found = np.unique(numbers[np.isfinite(numbers)])
    if 0 < len(found) <= _MOST:
        tensor.meta[_BEFORE] = tuple(float(number) for number in found)


def _lost(tensor: ir.TensorProtocol) -> tuple[float, ...]:
    """The numbers of a tensor that its file does not tell."""
    before = tensor.meta.get(_BEFORE, ())
    if not before:
        return ()
    elements = tensor.numpy()
    alike = bool((elements == elements.flat[0]).all())
    return tuple(number for number in before if _is_lost(number, alike))


def _is_lost(number: float, alike: bool) -> bool:
    """Whether a float32 is not the number, nor its shortest decimal where the elements of a tensor are alike."""
    with np.errstate(over="ignore"):
        single = np.float32(number)
    if not np.isfinite(single):
        return False
    guesses = (float(single), float(str(single))) if alike else (float(single),)
    return all(abs(number - guess) > _CLOSE * abs(number) for guess in guesses)


def widen_constants(graph: ir.Graph) -> None:
    """Constants of float32 that are cast to float64 become the numbers of float64 that they were.

    PyTorch's exporter writes a number of a float64 tensor so, 0.9 of an optimizer among them.
    """
    for node in list(graph):
        value = node.inputs[0] if node.op_type in ("Cast", "CastLike") and not node.domain else None
        producer = value.producer() if value is not None else None
        if (
            producer is None
            or producer.op_type != "Constant"
            or "value" not in producer.attributes
            or not _gives_double(node)
        ):
            continue
        tensor = producer.attributes["value"].as_tensor()
        before = tensor.meta.get(_BEFORE, ())
        if before:
            single = tensor.numpy()
            exact = single.astype(np.float64)
            for number in before:
                exact[single == np.float32(number)] = number
            made = ir.node("Constant", [], {"value": ir.Tensor(exact)})
            made.meta.update(node.meta)
            made.metadata_props.update(node.metadata_props)
            ir.convenience.replace_nodes_and_values(graph, node, [node], [made], list(node.outputs), list(made.outputs))


def narrow_constants(graph: ir.Graph) -> None:
    """Constants of float64 that are cast to float32 become constants of float32 that remember them."""
    for node in list(graph):
        tensor = _double(node.inputs[0]) if node.op_type == "Cast" and not node.domain else None
        if tensor is None or node.attributes["to"].as_int() != ir.DataType.FLOAT or node.outputs[0].is_graph_output():
            continue
        made = ir.node("Constant", [], {"value": rounded(tensor.numpy(), np.dtype(np.float32))})
        made.meta.update(node.meta)
        made.metadata_props.update(node.metadata_props)
        ir.convenience.replace_nodes_and_values(graph, node, [node], [made], list(node.outputs), list(made.outputs))


def _double(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The constant of float64 that a value is, or is a copy of."""
    producer = value.producer() if value is not None else None
    while producer is not None and producer.op_type == "Cast" and _gives_double(producer):
        value = producer.inputs[0]
        producer = value.producer() if value is not None else None
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor if tensor is not None and tensor.dtype == ir.DataType.DOUBLE else None


def exact_number(value: ir.Value | None) -> float | None:
    """The number of double precision that a constant of one element was, as a reading of the file in float64 has it."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.size != 1 or not tensor.dtype.is_floating_point():
        return None
    (single,) = tensor.numpy().ravel()
    lost = _lost(tensor)
    return lost[0] if len(lost) == 1 else float(str(single))


def remembers(value: ir.Value | None) -> bool:
    """Whether a value is a constant of several numbers, some of which its file does not tell."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor is not None and tensor.size > 1 and bool(_lost(tensor))


def _gives_double(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        return bool(node.attributes["to"].as_int() == ir.DataType.DOUBLE)
    like = node.inputs[1]
    return like is not None and like.dtype == ir.DataType.DOUBLE


def single_numbers(graph: ir.Graph) -> dict[float, float]:
    """Float32 to the number that it was, of constants that are a single number; folding makes others of them."""
    found: dict[float, float] = {}
    for node in graph:
        attribute = node.attributes.get("value")
        if attribute is not None and attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.size == 1:
                found |= {float(np.float32(number)): number for number in _lost(tensor)}
    return found


def rounded_numbers(graph: ir.Graph, single: Mapping[float, float]) -> dict[str, tuple[float, ...]]:
    """Constant to the numbers that some of its elements were, for the metadata.

    Args:
        graph: The finished graph.
        single: What single numbers were when the graph was translated (:func:`single_numbers`).
    """
    tensors = {name: value.const_value for name, value in graph.initializers.items()}
    for node in graph:
        attribute = node.attributes.get("value")
        if attribute is not None and attribute.type == ir.AttributeType.TENSOR:
            tensors[str(node.outputs[0].name)] = attribute.as_tensor()
    found = {}
    for name, tensor in tensors.items():
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or not tensor.size:
            continue
        before = _lost(tensor)
        if not before and single:
            elements = tensor.numpy()
            first = float(elements.flat[0])
            before = (single[first],) if first in single and (elements == elements.flat[0]).all() else ()
        if before:
            found[name] = before
    return found
