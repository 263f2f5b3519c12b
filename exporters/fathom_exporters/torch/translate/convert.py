"""The conversion itself: a recorded step through PyTorch's exporter, every node tagged with its origin."""

from __future__ import annotations

import ast
import logging
import types
import warnings
from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.utils import _pytree as pytree

from fathom_exporters.lowering import OPSET, Tag, register_schemas
from fathom_exporters.torch.capture import Capture
from fathom_onnx.errors import ExportError

from .general import GENERAL
from .images import IMAGES

__all__ = ["TRANSLATIONS", "translate"]

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of an exported node: the modules that its operation was recorded in."""
_MARK = "fathom_origin:"
"""What the name of a recorded operation is prefixed with to travel as such a module."""


def _unannotated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A translation without annotations, by which the exporter would judge whether to call it at all."""
    assert isinstance(function, types.FunctionType)
    return types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    target: _unannotated(function) for target, function in {**GENERAL, **IMAGES}.items()
}
"""aten operation to the function that writes it, in place of the exporter's own where there is one."""

_OTHER_GRADIENTS = {"Conv2DBackFilter": "Conv2DBackFilter", "ReduceSum": "Sum"}
"""Node type to canonical op, for the nodes of a convolution's backward that are not its input gradient."""


def _program(capture: Capture) -> ExportedProgram:
    """The recorded graph as the exporter takes it, each operation marked with its name."""
    graph = capture.module.graph
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    output = next(node for node in graph.nodes if node.op == "output")
    for node in graph.nodes:
        if node.op == "call_function":
            node.meta["nn_module_stack"] = {"origin": (_MARK + node.name, "origin")}
    signature = ExportGraphSignature(
        [InputSpec(InputKind.USER_INPUT, TensorArgument(name=node.name), target=None) for node in placeholders],
        [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(name=value.name), target=None) for value in output.args[0]],
    )
    call = ModuleCallSignature(
        inputs=[],
        outputs=[],
        in_spec=pytree.tree_flatten((capture.inputs, {}))[1],
        out_spec=pytree.tree_flatten(tuple(range(len(output.args[0]))))[1],
        forward_arg_names=[node.name for node in placeholders],
    )
    return ExportedProgram(
        root=capture.module,
        graph=graph,
        graph_signature=signature,
        state_dict={},
        range_constraints={},
        module_call_graph=[ModuleCallEntry("", call)],
        example_inputs=(capture.inputs, {}),
        constants={},
    )


def _origin(node: ir.Node) -> str | None:
    """The name of the recorded operation that a node came from."""
    for scope in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")):
        if scope.startswith(_MARK):
            return str(scope.removeprefix(_MARK))
    return None


def _tag(model: ir.Model, capture: Capture) -> None:
    """Replace the exporter's metadata of every node by the tag of the operation it came from."""
    for node in model.graph:
        if node.op_type == "Split" and len(node.inputs) > 1:
            node.attributes.pop("num_outputs", None)  # only the exporter needed it; ONNX takes it or the sizes
        origin = _origin(node)
        if origin is None or origin not in capture.tags:
            raise ExportError(f"node '{node.name}' ({node.op_type}) does not say which PyTorch operation it is of")
        tag = capture.tags[origin]
        node.metadata_props.clear()
        if tag.op == "Conv2DBackInput" and node.op_type in _OTHER_GRADIENTS:
            tag = Tag(tag.phase, tag.scope, _OTHER_GRADIENTS[node.op_type], f"{tag.origin}.{node.op_type}")
        tag.put(node)


def translate(capture: Capture) -> ir.Model:
    """The recorded step as an ``onnx_ir`` model for :func:`fathom_exporters.lowering.finish`.

    Raises:
        ExportError: An operation has no translation.
    """
    register_schemas()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of PyTorch about its own code
            program = torch.onnx.export(
                _program(capture),
                dynamo=True,
                custom_translation_table=TRANSLATIONS,
                opset_version=OPSET,
                optimize=False,
                verbose=False,
                input_names=list(capture.input_names),
                output_names=list(capture.output_names),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ExportError(f"PyTorch's exporter cannot translate the step: {cause}") from error
    assert program is not None
    model = ir.from_proto(program.model_proto) if isinstance(program.model, onnx.ModelProto) else program.model
    _tag(model, capture)
    return model
