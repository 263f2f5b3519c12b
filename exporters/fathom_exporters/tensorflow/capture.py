"""The capture of a workload's step as a TensorFlow graph of plain operations with static shapes."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from fathom_onnx.workloads.contract import Mode, NoiseSource, Workload

from .fold import fold
from .models import Model
from .net import DataFormat
from .step import run_step

__all__ = ["Captured", "capture"]


@dataclass(frozen=True)
class Captured:
    """A captured step.

    Attributes:
        workload: The workload.
        graph: The folded graph.
        inputs: Tensor name in the graph to name in the interface, in its order.
        outputs: Likewise for the outputs.
    """

    workload: Workload
    graph: tf.Graph
    inputs: dict[str, str]
    outputs: dict[str, str]


def capture(
    workload: Workload, model: Model, mode: Mode, noise: NoiseSource, data_format: DataFormat = "NCHW"
) -> Captured:
    """Trace a workload's step, with images in the given layout, and fold what is static.

    Raises:
        ExportError: The model and the workload do not agree.
    """
    interface = workload.interface(mode, noise)
    names = [spec.name for spec in interface.inputs]

    def step(*tensors: tf.Tensor) -> list[tf.Tensor]:
        outputs, _ = run_step(workload, model, mode, dict(zip(names, tensors, strict=True)), data_format=data_format)
        return [outputs[spec.name] for spec in interface.outputs]

    specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in interface.inputs]
    function = tf.function(step, autograph=False).get_concrete_function(*specs)
    graph_def = function.graph.as_graph_def()
    graph = fold(graph_def, [t.op.name for t in function.inputs], [t.op.name for t in function.outputs])
    return Captured(
        workload=workload,
        graph=graph,
        inputs={t.name: name for t, name in zip(function.inputs, names, strict=True)},
        outputs={t.name: spec.name for t, spec in zip(function.outputs, interface.outputs, strict=True)},
    )
