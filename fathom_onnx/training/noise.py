"""Random tensors of a graph, drawn outside of it: a step then depends on its number, and not on the steps before.

onnxruntime's generators run on from step to step, and their state can be neither read nor set. A run that is resumed
would draw other numbers than one that was not interrupted. So a graph's draws become inputs, and what is fed depends on
the seed, the tensor's name and the number of the step only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.bodies import all_nodes
from fathom_onnx.workloads.contract import Array

__all__ = ["DRAWING", "NoiseInput", "take_noise_out"]

DRAWING = "SFC64 by seed, tensor and block of steps"
"""How values are drawn: a checkpoint names it, since a run that is resumed with another one draws other numbers."""

_PARAMETERS = {"RandomNormal": ("mean", "scale"), "RandomUniform": ("low", "high")}
_DEFAULTS = {"mean": 0.0, "scale": 1.0, "low": 0.0, "high": 1.0}
_MOST_STEPS, _AT_ONCE = 64, 2**16
"""Of how many steps the values are drawn at once: as many as have this many numbers, which a cache still holds."""

_OTHER_DRAWS = {"RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}


@dataclass(frozen=True)
class NoiseInput:
    """An input that takes the place of a draw.

    Attributes:
        name: The tensor's name.
        op: ``RandomNormal`` or ``RandomUniform``.
        shape: Its shape.
        dtype: Its element type, as numpy names it.
        first: Mean, or lower end.
        second: Standard deviation, or upper end.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    first: float
    second: float

    def sampler(self, seed: int) -> Callable[[int], Array]:
        """What gives the values of a step, float32 before they are cast, by its number.

        They are the same for the same seed and step, on any machine. Those of several steps on end are drawn at once:
        numpy draws many numbers without the interpreter's lock, which the steps want. A sampler keeps what it drew
        last: threads may not share it.
        """
        key = np.frombuffer(hashlib.sha256(f"{seed}:{self.name}".encode()).digest(), dtype="<u4")
        normal = self.op == "RandomNormal"
        first, width = np.float32(self.first), np.float32(self.second if normal else self.second - self.first)
        steps = max(1, min(_MOST_STEPS, _AT_ONCE // max(1, math.prod(self.shape))))
        drawn: dict[int, Array] = {}

        def draw(number: int) -> Array:
            # of numpy's generators the fastest; those of two blocks are apart because their seeds are hashed
            generator = np.random.Generator(np.random.SFC64([*key.tolist(), number]))
            distribution = generator.standard_normal if normal else generator.random
            values = distribution((steps, *self.shape), dtype=np.float32)
            if width != 1:
                values *= width
            if first != 0:
                values += first
            return np.asarray(values, dtype=self.dtype)

        def sample(step: int) -> Array:
            number, place = divmod(step, steps)
            if number not in drawn:
                drawn.clear()  # what was given of it lives on by itself
                drawn[number] = draw(number)
            return np.asarray(drawn[number][place])

        return sample


def _read(node: onnx.NodeProto) -> NoiseInput:
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    first, second = (float(found.get(name, _DEFAULTS[name])) for name in _PARAMETERS[node.op_type])
    element = int(found.get("dtype", onnx.TensorProto.FLOAT))
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(element))
    return NoiseInput(node.output[0], node.op_type, tuple(found["shape"]), dtype, first, second)


def take_noise_out(graph: Graph) -> tuple[Graph, tuple[NoiseInput, ...], tuple[str, ...]]:
    """A graph whose own draws are inputs.

    Returns:
        The graph (the same one where it draws nothing), its new inputs, and the names of the nodes whose draws stay
        inside: draws in bodies, and those whose shape or probabilities are computed.
    """
    results = {output.name for output in graph.model.graph.output}
    taken = {
        node.output[0]: _read(node)
        for node in graph.model.graph.node
        if node.op_type in _PARAMETERS and node.output[0] not in results
    }
    left = tuple(
        node.name or node.op_type
        for node in all_nodes(graph.model.graph.node)
        if node.op_type in _OTHER_DRAWS or (node.op_type in _PARAMETERS and node.output[0] not in taken)
    )
    if not taken:
        return graph, (), left
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    kept = [node for node in model.graph.node if not node.output or node.output[0] not in taken]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for noise in taken.values():
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(noise.dtype))
        model.graph.input.append(onnx.helper.make_tensor_value_info(noise.name, element, noise.shape))
    known = [value for value in model.graph.value_info if value.name not in taken]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    return from_model(model, graph.name, graph.path, values=graph.stored_values), tuple(taken.values()), left
