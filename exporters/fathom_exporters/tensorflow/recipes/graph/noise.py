"""The random tensors of a lifted step: draws in the graph, or inputs.

Keras draws from seeds that it keeps in variables; such a draw becomes noise of the workload, and the seeds are then
needed by nothing. A draw from a fixed seed gives the same values every time and is folded like any constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from fathom_exporters.tensorflow.refusals import Refusal, refusal
from fathom_onnx.recipes.recorded import unique
from fathom_onnx.workloads.contract import Noise, NoiseSource

from .lifted import Lifted, Refused

__all__ = ["Draws", "draw_order", "find_draws"]

_DRAWS: dict[str, Literal["normal", "uniform"]] = {
    "StatelessRandomUniformV2": "uniform",
    "StatelessRandomUniform": "uniform",
    "RandomUniform": "uniform",
    "StatelessRandomNormalV2": "normal",
    "StatelessRandomNormal": "normal",
    "RandomStandardNormal": "normal",
}
_SEEDED = (
    "StatelessRandom",
    "StatelessTruncated",
    "StatelessMultinomial",
    "StatelessParameterized",
    "StatelessShuffle",
)
_UNSEEDED = ("Random", "TruncatedNormal", "Multinomial", "ParameterizedTruncatedNormal", "StatefulUniform",
             "StatefulStandardNormal", "StatefulTruncatedNormal", "StatefulRandom")  # fmt: skip
_ELSE = Refusal(
    "is a random distribution that no standard operator draws, or one of unknown shape",
    "make it of uniform or normal float32 numbers, of a fixed shape",
)
_NOT_DRAWS = ("StatelessRandomGetKeyCounter", "StatelessRandomGetAlg", "StatelessRandomGetKeyCounterAlg")


@dataclass(frozen=True)
class Draws:
    """Random tensors of a step.

    Attributes:
        noise: They as the workload's noise, in the order in which they are drawn.
        operations: The operations that draw them, in the same order.
        refused: Draws of distributions that a graph cannot draw.
    """

    noise: tuple[Noise, ...]
    operations: tuple[str, ...]
    refused: tuple[Refused, ...]

    def put(self, graph_def: tf.compat.v1.GraphDef, source: NoiseSource) -> tf.compat.v1.GraphDef:
        """A copy of the graph whose draws are inputs of their operations' names, or draw without a seed."""
        copied = tf.compat.v1.GraphDef()
        copied.CopyFrom(graph_def)
        by_name = dict(zip(self.operations, self.noise, strict=True))
        for node in copied.node:
            if node.name in {refused.name for refused in self.refused}:  # to look at the rest
                _become_input(node, tf.TensorShape(None))
        for index, node in enumerate([n for n in copied.node if n.name in by_name]):
            noise = by_name[node.name]
            _become_input(node, tf.TensorShape(noise.shape))
            if source == "input":
                continue
            del node.attr["shape"]
            node.op = "RandomUniform" if noise.distribution == "uniform" else "RandomStandardNormal"
            shape = copied.node.add(op="Const", name=f"{node.name}/drawn_shape")
            shape.attr["dtype"].type = tf.int32.as_datatype_enum
            shape.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(noise.shape, tf.int32, [len(noise.shape)]))
            node.input.append(shape.name)
            node.attr["T"].type = tf.int32.as_datatype_enum
            node.attr["seed"].i, node.attr["seed2"].i = 0, index + 1  # equal seeds would make equal numbers
        return copied


def _become_input(node: tf.compat.v1.NodeDef, shape: tf.TensorShape) -> None:
    dtype = node.attr["dtype"].type or node.attr["output_dtype"].type or tf.float32.as_datatype_enum
    node.op = "Placeholder"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.CopyFrom(shape.as_proto())


def draw_order(nodes: Iterable[tf.compat.v1.NodeDef]) -> Iterator[tf.compat.v1.NodeDef]:
    """The nodes that draw anew in every step: from a seed that depends on a variable or an input, or without one."""
    varying: set[str] = set()
    for node in nodes:
        unseeded = node.op.startswith(_UNSEEDED)
        if unseeded or node.op in ("Placeholder", "ReadVariableOp") or any(_source(i) in varying for i in node.input):
            varying.add(node.name)
            if unseeded or (node.op.startswith(_SEEDED) and node.op not in _NOT_DRAWS):
                yield node


def _source(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _layer(operation: str) -> str:
    first, layer, *_ = [*operation.split("/"), "", ""]
    return f"{layer}.noise" if first == "forward" and layer else "noise"


def find_draws(lifted: Lifted) -> Draws:
    """The random tensors of a lifted step."""
    noise: list[Noise] = []
    operations: list[str] = []
    refused: list[Refused] = []
    for node in draw_order(lifted.graph_def.node):
        shape = lifted.shapes.get(node.name)
        if node.op not in _DRAWS or shape is None or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            known = refusal(node.op) or _ELSE
            refused.append(Refused(node.name, node.op, *known))
            continue
        noise.append(Noise(unique(_layer(node.name), [n.name for n in noise]), shape, _DRAWS[node.op]))
        operations.append(node.name)
    return Draws(tuple(noise), tuple(operations), tuple(refused))
