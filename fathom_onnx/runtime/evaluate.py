"""Running a graph as a function: all inputs given, all outputs taken, its ReLUs and max pools in view."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from ..errors import RunError, one_line
from ..exporting import Kink, StepResult
from ..graph import Address, Graph
from ..workloads.contract import Array
from .prepare import Prepared
from .session import open_session
from .settings import SessionSettings

__all__ = ["Evaluator"]


class Evaluator:
    """A graph as a function from values by name to outputs by name.

    The session exposes the input of every forward ReLU and max pool, and the indices of the pools, as further outputs;
    the computation is the graph's own.

    Args:
        graph: A graph of ours, with noise as input.
        threads: Threads inside one operator.
    """

    def __init__(self, graph: Graph, threads: int = 1) -> None:
        self._outputs = [t.name for t in graph.outputs]
        self._kinks: dict[str, tuple[str, str]] = {}
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        extra: dict[str, None] = {}
        for node in model.graph.node:
            address = Address.parse(node.name)
            if address is None or address.phase != "forward" or node.op_type not in ("Relu", "MaxPool"):
                continue
            indices = ""
            if node.op_type == "MaxPool":
                if len(node.output) < 2:
                    node.output.append(f"{node.output[0]}:indices")
                indices = node.output[1]
            self._kinks[address.layer] = (node.input[0], indices)
            extra |= dict.fromkeys(name for name in (node.input[0], indices) if name)
        model.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(name) for name in extra if name not in self._outputs
        )
        self._session = open_session(Prepared(model, {}, (), {}), SessionSettings(threads=threads))
        self._inputs = {i.name for i in self._session.get_inputs()}

    def step(self, values: Mapping[str, Array]) -> StepResult:
        """Run the graph once.

        Raises:
            RunError: A value is missing or does not fit.
        """
        missing = self._inputs - values.keys()
        if missing:
            raise RunError(f"input '{min(missing)}' has no value", "give one for every input")
        try:
            given = self._session.run(None, {name: values[name] for name in self._inputs})
        except Exception as error:
            raise RunError(f"onnxruntime failed in a step ({one_line(error)})") from error
        results = dict(zip((o.name for o in self._session.get_outputs()), given, strict=True))
        kinks = {}
        for layer, (source, indices) in self._kinks.items():
            x = results[source] if source in results else values[source]
            if indices:
                # ONNX counts through the whole tensor; the branches are counted within a plane
                kinks[layer] = Kink("MaxPool", x, results[indices] % int(np.prod(x.shape[2:])))
            else:
                kinks[layer] = Kink("Relu", x, x > 0)
        return StepResult({name: results[name] for name in self._outputs}, kinks)
