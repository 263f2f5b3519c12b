"""Trip counts: how often the bodies of control flow run in one execution of their node, where known before a run."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from .sequences import Known
from .values import Values, constants_of

__all__ = ["Times", "executions_of"]

Times = tuple[int | None, str]
"""How often a body runs, or None and the reason."""

_ENDLESS = 2**31 - 1
"""A loop that only its condition ends says this, or more, for a limit."""

_BEFORE_SCAN_LOST_ITS_BATCH = 9


def _scalar(name: str, values: Values) -> int | None:
    value = values.get(name) if name else None
    return None if value is None or value.size != 1 else int(value.reshape(-1)[0])


def _stays_true(body: onnx.GraphProto) -> bool:
    """Whether a loop's body always goes on: it hands its own condition over, or gives a constant that is true."""
    producer = {name: node for node in body.node for name in node.output}
    known = constants_of(body)
    name = body.output[0].name
    while name in producer and producer[name].op_type == "Identity" and producer[name].input:
        name = producer[name].input[0]
    if len(body.input) > 1 and name == body.input[1].name:
        return True
    return bool(_scalar(name, known))


def _loop(node: onnx.NodeProto, body: onnx.GraphProto, values: Values) -> Times:
    limit = _scalar(node.input[0], values) if node.input else None
    first = _scalar(node.input[1], values) if len(node.input) > 1 and node.input[1] else 1
    if first == 0:
        return 0, ""
    if limit is None or limit >= _ENDLESS:
        return None, "how often the loop runs is data"
    if first is None or not _stays_true(body):
        return None, f"the loop may end before its {limit} iterations"
    return max(0, limit), ""


def _scan(node: onnx.NodeProto, known: Known, opset: int) -> Times:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.name != "body"}
    scanned = list(node.input)[-int(attributes["num_scan_inputs"]) :]
    tensor = known.tensor(scanned[0])
    if tensor.shape is None:
        return None, f"shape of '{scanned[0]}', which the scan goes along, is not known"
    axes = attributes.get("scan_input_axes")
    axis = int(axes[0]) if isinstance(axes, (list, tuple)) and axes else 0
    batched = opset < _BEFORE_SCAN_LOST_ITS_BATCH
    rank = len(tensor.shape)
    if rank < 2 if batched else not -rank <= axis < rank:
        return None, f"'{scanned[0]}' does not have the axis that the scan goes along"
    if batched:
        if node.input[0]:
            return None, "the lengths of the sequences are data"
        return tensor.shape[0] * tensor.shape[1], ""
    return tensor.shape[axis], ""


def executions_of(
    node: onnx.NodeProto, inside: Mapping[str, onnx.GraphProto], known: Known, opset: int
) -> dict[str, Times]:
    """How often each body of a node runs when the node runs once.

    Args:
        node: The node.
        inside: Its bodies by attribute name.
        known: What is known where the node stands.
        opset: Version of the default domain; Scan had another form before 9.
    """
    kind = node.op_type
    if kind == "If":
        chosen = _scalar(node.input[0], known.values)
        if chosen is None:
            return dict.fromkeys(inside, (None, "which branch runs is data"))
        return {name: (int((name == "then_branch") == bool(chosen)), "") for name in inside}
    if kind == "Loop":
        return {name: _loop(node, body, known.values) for name, body in inside.items()}
    if kind == "Scan":
        return dict.fromkeys(inside, _scan(node, known, opset))
    if kind == "SequenceMap":
        length = known.sequence(node.input[0]).length
        return dict.fromkeys(inside, (length, "" if length is not None else "the length of the sequence is data"))
    if kind == "FlexAttention":
        return dict.fromkeys(inside, (1, ""))
    return dict.fromkeys(inside, (None, f"how often '{kind}' runs its bodies is not known"))
