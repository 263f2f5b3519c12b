"""The conversion itself: every TensorFlow operation by its handler, every node tagged with its origin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any

import onnx.helper
import onnx_ir as ir
from onnx_ir.passes import common
from tf2onnx import tfonnx, utils
from tf2onnx.graph import Graph, Node
from tf2onnx.handler import tf_op

from fathom_exporters.lowering import DOMAIN, OPSET, VERSION
from fathom_exporters.lowering.tags import ORIGIN, Tag
from fathom_exporters.tensorflow.capture import Captured
from fathom_onnx.errors import ExportError, FathomError, one_line

from .conversion import conversion_graph
from .emit import Emit, Handler
from .general import GENERAL
from .images import IMAGES
from .indexing import INDEXING
from .moves import MOVES
from .pointwise import POINTWISE
from .products import PRODUCTS
from .scopes import tags
from .slices import SLICES
from .special import SPECIAL
from .tidy import tidy

__all__ = ["HANDLERS", "translate"]

HANDLERS: dict[str, Handler] = {**GENERAL, **IMAGES, **INDEXING, **MOVES, **POINTWISE, **PRODUCTS, **SLICES, **SPECIAL}
"""TensorFlow operation type to our handler; other types are left to tf2onnx's own handlers."""

_FIRST_NAME = 10**9
"""Number of the first name that tf2onnx makes. It counts on over a process and sorts constants by their names, where 10
is before 9: the file would depend on what was exported before it. From here no number gets another digit."""

_Mapping = dict[str, tuple[Callable[..., None], dict[str, Any]]]


class _Mapper:
    """Runs handlers and records which nodes each has added.

    Attributes:
        origins: Node name to the name of the TensorFlow operation that it replaces.
    """

    def __init__(self, stock: Mapping[str, tuple[Callable[..., None], dict[str, Any]]]) -> None:
        self._stock = stock
        self._known: set[str] = set()
        self.origins: dict[str, str] = {}

    def mapping(self, types: set[str]) -> _Mapping:
        """What tf2onnx calls for each type of operation in the graph."""
        return {op_type: (self._handle, {}) for op_type in types if op_type in HANDLERS or op_type in self._stock}

    def begin(self, graph: Graph) -> None:
        """Record the nodes before the conversion, which are the TensorFlow operations."""
        self._known = {node.name for node in graph.get_nodes()}

    def _handle(self, graph: Graph, node: Node, **options: Any) -> None:
        name, op_type = node.name, node.type
        try:
            if op_type in HANDLERS:
                HANDLERS[op_type](Emit(graph, node, functools.partial(self._convert, graph, node, options)))
            else:
                self._convert(graph, node, options)
        except FathomError:
            raise
        except Exception as error:
            raise ExportError(
                f"TensorFlow operation '{name}' ({op_type}) cannot be translated: {one_line(error)}"
            ) from error
        self._known.discard(name)  # a node that replaces the operation has its name too
        # new nodes are at the end of the list
        added = {name, *(n.name for n in takewhile(self._is_new, reversed(graph.get_nodes())))}
        self.origins |= dict.fromkeys(added, name)
        self._known.update(added)

    def _is_new(self, node: Node) -> bool:
        return node.name not in self._known

    def _convert(self, graph: Graph, node: Node, options: dict[str, Any]) -> None:
        function, settings = self._stock[node.type]
        settings = dict(settings)
        if renamed := settings.get("onnx_op"):
            settings["tf_op"] = node.type
            node.type = renamed
        function(graph, node, **settings, **options)


def _convert(captured: Captured) -> tuple[Graph, dict[str, str]]:
    """tf2onnx's graph of the captured step, and the TensorFlow operation behind each of its nodes."""
    utils.INTERNAL_NAME = _FIRST_NAME
    graph = conversion_graph(captured)
    private = onnx.helper.make_opsetid(DOMAIN, VERSION)
    graph.set_config(opset=OPSET, extra_opset=[private])
    graph.rename_tensors({**captured.inputs, **captured.outputs})
    mapper = _Mapper(tf_op.create_mapping(OPSET, [private]))
    mapper.begin(graph)
    types = {node.type for node in graph.get_nodes()}
    _, unmapped, errors = tfonnx.tensorflow_onnx_mapping(graph, mapper.mapping(types))
    if errors:
        raise errors[0]
    if unmapped:
        raise ExportError(
            f"no translation for TensorFlow operations {', '.join(sorted(unmapped))}",
            "add a handler in exporters/fathom_exporters/tensorflow/translate, or write the model without them",
        )
    return graph, mapper.origins


def _as_ir(graph: Graph) -> ir.Model:
    """The graph as an ``onnx_ir`` model that knows the shape of every tensor."""
    model = ir.serde.deserialize_model(graph.make_model(""))
    for node in model.graph:
        for value in node.outputs:
            shape, dtype = graph.get_shape(value.name), graph.get_dtype(value.name)
            if shape is not None and dtype is not None and all(dim is not None and dim >= 0 for dim in shape):
                value.shape = ir.Shape(shape)
                value.type = ir.TensorType(ir.DataType(dtype))
    return model


def _in_tensorflow_order(graph: ir.Graph, captured: Captured) -> None:
    """Put the nodes in the order of the step's operations: forward, loss, backward, optimizer.

    tf2onnx's own order is topological too, but starts from the outputs.
    """
    order = {op.name: index for index, op in enumerate(captured.graph.get_operations())}
    nodes = sorted(graph, key=lambda node: order[node.metadata_props[ORIGIN]])
    graph.remove(nodes)
    graph.extend(nodes)


def _of_output(captured: Captured, node: ir.Node) -> Tag | None:
    """The tag of an output that is a constant, such as a flag that the step sets: its layer's, or the model's."""
    operations = {name: tensor.partition(":")[0] for tensor, name in captured.outputs.items()}
    name = node.outputs[0].name or ""
    if name not in operations:
        return None
    layers = [layer.name for layer in captured.workload.layers]
    layer = name.removesuffix(".next").rpartition(".")[0]
    return Tag("forward", layer if layer in layers else layers[0], "Identity", operations[name])


def translate(captured: Captured) -> ir.Model:
    """The ONNX model of a captured step: gradients as canonical ops, every node with its tag.

    Raises:
        ExportError: An operation has no canonical op, no handler or no layer.
    """
    tags_by_operation = tags(captured.graph, captured.workload)
    graph, origins = _convert(captured)
    model = _as_ir(graph)
    common.IdentityEliminationPass()(model)
    for node in model.graph:
        tag = tags_by_operation.get(origins.get(node.name or "", "")) or _of_output(captured, node)
        if tag is None:
            raise ExportError(f"node '{node.name}' ({node.op_type}) comes from no operation of a layer")
        tag.put(node)
    _in_tensorflow_order(model.graph, captured)
    tidy(model)
    return model
