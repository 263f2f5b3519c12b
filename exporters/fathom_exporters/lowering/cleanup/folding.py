"""Constant folding, and tags for the nodes that folding makes."""

from __future__ import annotations

import math

import onnx_ir as ir
import onnxscript.optimizer

from fathom_exporters.lowering.rounding import remembers
from fathom_exporters.lowering.tags import NOT_FOLDED, Tag
from fathom_exporters.lowering.values import static_shape

__all__ = ["FoldConstants", "InheritTags"]

_FOLD_LIMIT = 1024
"""Elements up to which a result becomes a constant; a broadcast tensor would swell the file."""
_EVALUATED = 2**20
"""Elements from which a result is not even computed to be looked at."""
_FILL_LIMIT = 64
"""Elements up to which a filled tensor becomes a constant."""


def _elements(value: ir.Value) -> int:
    return math.prod(static_shape(value))


def _should_fold(node: ir.Node) -> bool | None:
    """Whether to fold a fill: a scalar or short vector, but not a large tensor; nothing that is an output of the graph.

    What is made of several numbers that were rounded to float32 is not folded: a reading of the file in float64 makes
    it of the numbers that they were. None is onnxscript's own judgement.
    """
    if any(remembers(value) for value in node.inputs):
        return False
    if NOT_FOLDED in node.metadata_props or any(output.is_graph_output() for output in node.outputs):
        return False
    if any(o.shape is not None and o.shape.is_static() and _elements(o) > _EVALUATED for o in node.outputs):
        return False
    shape = node.outputs[0].shape if node.outputs else None
    if node.op_type != "ConstantOfShape" or node.domain or shape is None or not shape.is_static():
        return None
    return _elements(node.outputs[0]) <= _FILL_LIMIT


class FoldConstants(ir.passes.InPlacePass):
    """Replace nodes whose inputs are all constants by their value, if it is small.

    Exact: onnxscript's folder runs the node's own reference implementation. Of that package's optimizer this is the
    only part in use; see :mod:`fathom_exporters.lowering.cleanup`.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        outputs = {o.name: Tag.of(node) for node in model.graph for o in node.outputs if o.is_graph_output()}
        result = onnxscript.optimizer.fold_constants(
            model, onnx_shape_inference=False, should_fold=_should_fold, output_size_limit=_FOLD_LIMIT
        )
        for node in model.graph:  # what only hands an output on was made anew, and has no neighbour to tell its place
            tag = outputs.get(node.outputs[0].name) if Tag.of(node) is None else None
            if tag is not None:
                tag.put(node)
        return ir.passes.PassResult(model, result.modified)


class InheritTags(ir.passes.InPlacePass):
    """Give each node without a tag, which folding made, the tag of a node that uses it or else of one that it uses.

    Only metadata changes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        modified = False
        for node in reversed(list(model.graph)):
            if Tag.of(node) is not None:
                continue
            users = [user for value in node.outputs for user, _ in value.uses()]
            producers = [value.producer() for value in node.inputs if value is not None]
            tags = (Tag.of(neighbour) for neighbour in [*users, *producers] if neighbour is not None)
            tag = next((tag for tag in tags if tag is not None), None)
            if tag is not None:
                tag.put(node)
                modified = True
        return ir.passes.PassResult(model, modified)
