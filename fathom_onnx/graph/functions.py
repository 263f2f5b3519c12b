"""Model-local functions written out, for running: each call becomes the nodes of the function.

onnxruntime does this before anything else and names what it makes after the function, so that two calls of one
function cannot be told apart for sure. Here a node is named ``<call>/<node>`` after the call it is reached through,
nested calls included, and inherits the call's metadata (its module path, with PyTorch's exporter). For costs without
running, :mod:`fathom_onnx.analysis.cost.expander` expands one call at a time.

``SequenceMap`` is a function of the standard and not of the model: onnxruntime runs the loop that it stands for, and so
it is written out too. The loop has its name, the nodes of its body keep theirs, and what is added is named after it and
has its metadata. That takes the types of what it goes over; where they are not known no ``SequenceMap`` is written out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping

import onnx
import onnx.inliner

from fathom_onnx.errors import GraphError

from .bodies import all_graphs, all_nodes, bodies
from .loading.faults import typed_in, with_nodes_hidden
from .loading.inference import inferred

__all__ = ["align_versions", "without_functions"]

_NUMBERED = re.compile(r"__\d+$")
"""What the inliner adds to a name, to make it unique."""

_SEQUENCE_MAP = "SequenceMap"

_Key = tuple[str, str, str]


def align_versions(model: onnx.ModelProto) -> None:
    """Let functions use the operator versions of the model, in place, as onnxruntime does whatever they say."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    for function in model.functions:
        for entry in function.opset_import:
            entry.version = versions.get(entry.domain, entry.version)


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that computes the same without functions; the model itself where it has none.

    Raises:
        GraphError: A function calls itself.
    """
    plain = _without_local_functions(model) if model.functions else model
    return _without_sequence_maps(plain)


def _without_sequence_maps(model: onnx.ModelProto) -> onnx.ModelProto:
    maps = [node for node in all_nodes(model.graph.node) if _is_sequence_map(node)]
    if not maps:
        return model
    typed = inferred(model, follow=False)
    if not _maps_are_typed(typed.graph, set()):
        return model
    names = {node.name for mapped in maps for _, body in bodies(mapped) for node in all_nodes(body.node)} - {""}
    map_of = {output: node for node in maps for output in node.output if output}
    inline = functools.partial(
        onnx.inliner.inline_selected_functions, function_ids=[("", _SEQUENCE_MAP)], inline_schema_functions=True
    )
    plain = with_nodes_hidden(typed, inline)
    _restore(plain.graph, names)
    for part in all_graphs(plain.graph):
        for loop in part.node:
            mapped = next((map_of[output] for output in loop.output if output in map_of), None)
            if loop.op_type == "Loop" and mapped is not None and not loop.name:
                made = [node for node in part.node if set(node.output) & set(loop.input)]
                inside = [node for _, body in bodies(loop) for node in body.node]
                for number, node in enumerate(node for node in [*made, *inside] if not node.name):
                    node.name = f"{mapped.name}/{node.op_type}_{number}" if mapped.name else ""
                    _inherit(node, mapped)
                loop.name = mapped.name
                _inherit(loop, mapped)
    return plain


def _maps_are_typed(graph: onnx.GraphProto, around: set[str]) -> bool:
    """Whether a type is known of all that the maps of a graph and its bodies take."""
    typed = around | typed_in(graph)
    own = all(name in typed for node in graph.node if _is_sequence_map(node) for name in node.input)
    return own and all(_maps_are_typed(body, typed) for node in graph.node for _, body in bodies(node))


def _is_sequence_map(node: onnx.NodeProto) -> bool:
    return node.op_type == _SEQUENCE_MAP and node.domain in ("", "ai.onnx")


def _without_local_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    special = onnx.ModelProto()
    special.CopyFrom(model)
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    del special.functions[:]
    names: set[str] = set()
    pending: list[tuple[onnx.NodeProto, tuple[_Key, ...]]]
    pending = [(call, ()) for call in _calls(special.graph.node, functions)]
    while pending:
        call, around = pending.pop()
        key = call.domain, call.op_type, call.overload
        if key in around:
            raise GraphError(
                f"function '{call.op_type}' calls itself", "export the model again, or inline its functions"
            )
        function = onnx.FunctionProto()
        function.CopyFrom(functions[key])
        # a function of its own for each call: its nodes can then be named after the call
        function.name, function.overload = f"{call.op_type}.{len(special.functions)}", ""
        scope = call.name or f"{call.op_type}_{len(special.functions)}"
        call.op_type, call.overload = function.name, ""
        for number, node in enumerate(all_nodes(function.node)):
            node.name = f"{scope}/{node.name or f'{node.op_type}_{number}'}"
            names.add(node.name)
            _inherit(node, call)
        special.functions.append(function)
        pending += [(inner, (*around, key)) for inner in _calls(special.functions[-1].node, functions)]
    plain = onnx.inliner.inline_local_functions(special)
    _restore(plain.graph, names)
    return plain


def _inherit(node: onnx.NodeProto, call: onnx.NodeProto) -> None:
    """Give a node the metadata of the call that it is reached through, save what it has of its own."""
    own = {entry.key for entry in node.metadata_props}
    node.metadata_props.extend(entry for entry in call.metadata_props if entry.key not in own)


def _calls(nodes: Iterable[onnx.NodeProto], functions: Mapping[_Key, onnx.FunctionProto]) -> Iterator[onnx.NodeProto]:
    """The nodes that call a function, those in bodies included."""
    return (node for node in all_nodes(nodes) if (node.domain, node.op_type, node.overload) in functions)


def _restore(graph: onnx.GraphProto, names: set[str]) -> None:
    """Remove the inliner's numbers from the names assigned above, which are unique if the calls' names are."""
    for node in all_nodes(graph.node):
        plain = _NUMBERED.sub("", node.name)
        if plain in names:
            node.name = plain
