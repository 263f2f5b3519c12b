"""The capture of a recipe's step: the lifted graph with the workload's names on its inputs and outputs, folded."""

from __future__ import annotations

import tensorflow as tf

from fathom_exporters.tensorflow.capture import Captured
from fathom_exporters.tensorflow.fold import fold
from fathom_exporters.tensorflow.step import gradient_name
from fathom_onnx.errors import ExportError
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Mode, NoiseSource

from .described import Described
from .recorded import Traced, trace

__all__ = ["capture_recipe"]


def _inputs(workload: RecipeWorkload, step: Traced, mode: Mode, noise: NoiseSource) -> dict[str, str]:
    """Interface name to placeholder, for the inputs that the step has."""
    found = dict(zip((s.name for s in workload.batch_inputs(mode)), step.lifted.inputs, strict=True))
    found |= {name: held.first for name, held in step.held.items()}
    if noise == "input":
        found |= {n.name: f"{op}:0" for n, op in zip(step.draws.noise, step.draws.operations, strict=True)}
    return found


class _Outputs:
    """Gives each output an operation of its own: one may be an input, or another output, as it is."""

    def __init__(self, graph_def: tf.compat.v1.GraphDef) -> None:
        self._graph_def = graph_def

    def add(self, tensor: str, dtype: str) -> str:
        node = self._graph_def.node.add(op="Identity", name=f"output_{len(self._graph_def.node)}", input=[tensor])
        node.attr["T"].type = tf.as_dtype(dtype).as_datatype_enum
        return f"{node.name}:0"


def capture_recipe(workload: RecipeWorkload, mode: Mode, noise: NoiseSource) -> Captured:
    """The captured step of a recipe's workload.

    Args:
        workload: The workload.
        mode: The mode.
        noise: Where random tensors come from.

    Returns:
        The step, whose outputs are the interface's and then the gradients, one for each different tensor.

    Raises:
        ExportError: Something in it cannot be recorded.
    """
    described = workload.described
    assert isinstance(described, Described)
    step = trace(described, mode)
    interface = workload.interface(mode, noise)
    graph_def = step.draws.put(step.lifted.graph_def, noise)
    inputs = _inputs(workload, step, mode, noise)
    for spec in interface.inputs:  # what this mode does not read is an input all the same
        if spec.name not in inputs:
            node = graph_def.node.add(op="Placeholder", name=f"unread_{len(graph_def.node)}")
            node.attr["dtype"].type = tf.as_dtype(spec.dtype).as_datatype_enum
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(spec.shape).as_proto())
            inputs[spec.name] = f"{node.name}:0"
    last = {f"{name}.next": held.last for name, held in step.held.items()} | dict(step.outputs)
    outputs = _Outputs(graph_def)
    made = {outputs.add(last[spec.name], spec.dtype): spec.name for spec in interface.outputs}
    further: dict[str, str] = {}
    if mode == "training":
        dtypes = {p.name: p.dtype for p in workload.parameters}
        tensors = {name: tensor for name, tensor in step.gradients.items() if name in dtypes}
        first = {tensor: name for name, tensor in reversed(tensors.items())}
        made |= {outputs.add(tensor, dtypes[name]): gradient_name(name) for tensor, name in first.items()}
        further = {name: gradient_name(first[tensor]) for name, tensor in tensors.items()}
    placeholders = [inputs[spec.name] for spec in interface.inputs]
    if len(set(placeholders)) < len(placeholders):
        raise ExportError(f"two inputs of {workload.name} are one tensor")
    graph = fold(graph_def, [_operation(t) for t in placeholders], [_operation(t) for t in made])
    return Captured(
        workload=workload,
        graph=graph,
        inputs={inputs[spec.name]: spec.name for spec in interface.inputs},
        outputs=made,
        gradients=further,
    )


def _operation(tensor: str) -> str:
    return tensor.partition(":")[0]
