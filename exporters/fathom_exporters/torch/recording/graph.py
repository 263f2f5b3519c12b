"""Clean-up of a recorded graph: copies, profiler marks, names, and outputs that are inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.onnx._internal.fx.passes.type_promotion import (
    InsertTypePromotion,
    _TypePromotionInterpreter,
    get_type_promotion_rule,
)

from fathom_exporters.torch.refusals import BFLOAT16, FLOAT16, Refusal
from fathom_onnx.errors import ExportError, one_line
from fathom_onnx.workloads.contract import Mode

__all__ = [
    "drop_copies",
    "drop_profiler_marks",
    "give_constants_values",
    "half_precision",
    "merge_shared_arithmetic",
    "name_gradients",
    "number_placeholders",
    "own_outputs",
    "promote_types",
]

_aten = torch.ops.aten

_COPIES = (_aten.detach.default, _aten.clone.default, _aten.alias.default, _aten.lift_fresh_copy.default)
_VIEWS = (_aten.view.default, _aten._unsafe_view.default)


def drop_copies(graph: fx.Graph) -> None:
    """Replace detached and cloned values by the values themselves: in a functional graph they are the same.

    A copy may have laid a tensor out for a view further on, so that every view becomes a reshape; in ONNX both are one.
    """
    for node in graph.nodes:
        if node.op == "call_function" and node.target in _COPIES:
            node.replace_all_uses_with(node.args[0])
    for node in graph.nodes:
        if node.target in _VIEWS:
            node.target = _aten.reshape.default
    graph.eliminate_dead_code()


class _OnlyChangedNodesRun(_TypePromotionInterpreter):
    """Type promotion that runs what it changes, on fake tensors; what any other operation gives is recorded already."""

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        with self._set_current_node(n):
            if rule := get_type_promotion_rule(n, self.type_promotion_table):
                self._maybe_promote_node(n, rule)
        return self.env.get(n, n.meta["val"])


def promote_types(module: fx.GraphModule) -> None:
    """Write out the conversions that PyTorch does where operands have several types; ONNX knows one for all.

    A conversion belongs where its user does.

    Raises:
        ExportError: The types do not suit an operation.
    """
    before = set(module.graph.nodes)
    promotion = InsertTypePromotion(module)
    promotion.interpreter = _OnlyChangedNodesRun(module, promotion.interpreter.type_promotion_table)
    try:
        promotion.run()
    except RuntimeError as error:
        raise ExportError(f"the types of an operation's operands do not suit it: {one_line(error)}") from None
    for node in reversed(module.graph.nodes):
        if node not in before and node.op == "call_function":
            user = next(iter(node.users))
            node.meta.update({key: user.meta[key] for key in ("custom", "seq_nr") if key in user.meta})


def give_constants_values(module: fx.GraphModule) -> None:
    """Let every constant of the graph, a tensor that the model makes of numbers, be known by its value.

    Raises:
        ExportError: A value is not known: the model makes it while its own tensors are fake ones.
    """
    for node in module.graph.nodes:
        if node.op != "get_attr":
            continue
        value = getattr(module, str(node.target))
        if isinstance(value, FakeTensor):
            if value.constant is None:
                raise ExportError(
                    f"the value of a tensor that the model makes is not known ('{node.target}')",
                    "make it a buffer of the module",
                )
            value = value.constant
        node.meta["val"] = value


_CASTS = ("_to_copy", "convert_element_type", "lift_fresh_copy", "clone", "detach", "alias", "view", "scalar_tensor")
"""Operations that compute nothing in the type that they give."""


def half_precision(node: fx.Node, mode: Mode) -> Refusal | None:
    """Why an operation is refused for the element type that it gives, if it is.

    Casts to float16 and back are rounding that a model asks for; in inference a graph of float16 is what it says.
    """
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor):
        return None
    if value.dtype == torch.bfloat16:
        return BFLOAT16
    name = getattr(node.target, "_opname", "")
    if value.dtype == torch.float16 and mode == "training" and name not in _CASTS:
        return FLOAT16
    return None


def drop_profiler_marks(graph: fx.Graph) -> None:
    """Remove what opens and closes a named range of PyTorch's profiler, as every ``optimizer.step()`` does."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and "record_function" in str(node.target):
            graph.erase_node(node)


def merge_shared_arithmetic(graph: fx.Graph, shared: Sequence[fx.Node]) -> set[fx.Node]:
    """Compute once what depends on shared variables alone, such as a step count that all parameters have.

    Args:
        graph: The graph.
        shared: Placeholders of the shared variables.

    Returns:
        The operations that depend on nothing else.
    """
    known = set(shared)
    found: set[fx.Node] = set()
    first: dict[tuple[Any, ...], fx.Node] = {}
    for node in list(graph.nodes):
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or not all(source in known for source in sources):
            continue
        key = (node.target, repr(node.args), repr(node.kwargs))
        if key in first:
            node.replace_all_uses_with(first[key])
            graph.erase_node(node)
            continue
        first[key] = node
        known.add(node)
        found.add(node)
    return found


def own_outputs(graph: fx.Graph, count: int) -> list[fx.Node]:
    """Give each of the first outputs a tensor of its own: a file's tensor has one name.

    Args:
        graph: The graph.
        count: How many outputs need one; the others are left.

    Returns:
        The copies that were made.
    """
    (output,) = (node for node in graph.nodes if node.op == "output")
    values = list(output.args[0])
    seen: set[fx.Node] = set()
    made = []
    for position, value in enumerate(values[:count]):
        if not value.all_input_nodes or value in seen:  # an input, or a constant
            with graph.inserting_before(output):
                copy = graph.call_function(_aten.clone.default, (value,))
            copy.meta["val"] = value.meta["val"]
            made.append(copy)
            values[position] = copy
        seen.add(values[position])
    output.args = (tuple(values),)
    return made


def name_gradients(graph: fx.Graph, names: Sequence[str], interface: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Leave one output for each tensor that is a gradient, after the outputs of the interface.

    Args:
        graph: The graph.
        names: Names of all outputs.
        interface: How many of them are of the interface.

    Returns:
        The names of the outputs that are left, and the name of each gradient to the name of the output that is it.
    """
    (output,) = (node for node in graph.nodes if node.op == "output")
    values = list(output.args[0])
    kept = dict(zip(values[:interface], names[:interface], strict=True))
    found: dict[str, str] = {}
    for name, value in zip(names[interface:], values[interface:], strict=True):
        found[name] = kept.setdefault(value, name)
    output.args = (tuple(kept),)
    return tuple(kept.values()), found


def number_placeholders(graph: fx.Graph) -> None:
    """Name the placeholders by number: two names of an interface may map to one identifier."""
    for number, node in enumerate(node for node in graph.nodes if node.op == "placeholder"):
        node.name = node.target = f"input_{number}"
