"""The capture of a workload's step as a TensorFlow graph of plain operations with static shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import tensorflow as tf

from fathom_onnx.workloads.contract import Mode, NoiseSource, Workload

from .fold import fold
from .models import Model
from .net import DataFormat
from .step import gradient_name, run_step

__all__ = ["Captured", "capture"]

_LARGEST = 1024
"""Elements up to which what depends on a range alone is a constant, as in the lowering of both frameworks."""


@dataclass(frozen=True)
class Captured:
    """A captured step.

    Attributes:
        workload: The workload.
        graph: The folded graph.
        inputs: Tensor name in the graph to name in the interface, in its order.
        outputs: Likewise for the outputs, and for gradients, which are further outputs.
        gradients: Parameter to the name of the output that is its gradient, before any treatment.
    """

    workload: Workload
    graph: tf.Graph
    inputs: dict[str, str]
    outputs: dict[str, str]
    gradients: Mapping[str, str] = field(default_factory=dict)


def capture(
    workload: Workload,
    model: Model,
    mode: Mode,
    noise: NoiseSource,
    data_format: DataFormat = "NCHW",
    gradients: bool = True,
    update: bool = True,
) -> Captured:
    """Trace a workload's step, with images in the given layout, and fold what is static.

    Args:
        workload: The workload.
        model: Its model.
        mode: The mode.
        noise: Where random tensors come from.
        data_format: The layout of images between layers.
        gradients: Whether a training step's gradients are further outputs, one for each different tensor.
        update: Whether a training step has its optimizer; without it, new values of buffers are all its new state.

    Raises:
        ExportError: The model and the workload do not agree.
    """
    interface = workload.interface(mode, noise)
    names = [spec.name for spec in interface.inputs]
    trained = [p.name for p in workload.parameters] if gradients and mode == "training" else []
    further: dict[str, str] = {}
    results = [spec.name for spec in interface.outputs]
    if mode == "training" and not update:
        results = [Workload.LOSS, *(b.next.name for b in workload.buffers)]

    def step(*arguments: tf.Tensor) -> list[tf.Tensor]:
        values = dict(zip(names, arguments, strict=True))
        outputs = run_step(workload, model, mode, values, data_format=data_format, update=update)
        tensors = {name: outputs[gradient_name(name)] for name in trained}
        first = {id(tensor): gradient_name(name) for name, tensor in reversed(tensors.items())}
        further.update({name: first[id(tensor)] for name, tensor in tensors.items()})
        made = [*results, *dict.fromkeys(further.values())]
        return [outputs[name] for name in made]

    specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in interface.inputs]
    function = tf.function(step, autograph=False).get_concrete_function(*specs)
    graph_def = function.graph.as_graph_def()
    graph = fold(graph_def, [t.op.name for t in function.inputs], [t.op.name for t in function.outputs], _LARGEST)
    made = [*results, *dict.fromkeys(further.values())]
    return Captured(
        workload=workload,
        graph=graph,
        inputs={t.name: name for t, name in zip(function.inputs, names, strict=True)},
        outputs={t.name: name for t, name in zip(function.outputs, made, strict=True)},
        gradients=further,
    )
