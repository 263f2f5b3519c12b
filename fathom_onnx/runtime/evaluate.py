"""A graph as a function: all inputs in, all outputs out, with the branches taken at its kinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from fathom_onnx.errors import RunError
from fathom_onnx.exporting import Kink, StepResult, kink_key
from fathom_onnx.graph import Address, Graph
from fathom_onnx.refusals import explain
from fathom_onnx.workloads.contract import Array, Layer

from .prepare import Prepared
from .session import open_session
from .settings import DEFAULT_SETTINGS, SessionSettings

__all__ = ["Evaluator"]


_WHERE: dict[str, frozenset[str]] = {
    "Relu": frozenset({"Relu"}),
    "MaxPool": frozenset({"MaxPool"}),
    # clipping is one node, or a ReLU and then a minimum
    "Clip": frozenset({"Clip", "Relu", "Max"}),
    "ArgMax": frozenset({"ArgMax"}),
}
"""Kind of kink to the node types whose input is where the branches are taken."""


@dataclass(frozen=True)
class _Place:
    layer: Layer
    source: str
    result: str


class Evaluator:
    """A graph as a function from values by name to outputs by name.

    The session exposes what decides the branches of every layer that is not smooth as further outputs; the computation
    is the graph's own.

    Args:
        graph: A graph of ours, with noise as input.
        layers: The workload's layers.
        settings: How the session runs: provider, threads.
    """

    def __init__(self, graph: Graph, layers: tuple[Layer, ...], settings: SessionSettings = DEFAULT_SETTINGS) -> None:
        self._outputs = [t.name for t in graph.outputs]
        self._places: dict[str, _Place] = {}
        kinked = {layer.name: layer for layer in layers if layer.kink}
        times: Counter[str] = Counter()
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        for node in model.graph.node:
            address = Address.parse(node.name)
            if address is None or address.phase != "forward" or address.layer not in kinked:
                continue
            layer = kinked[address.layer]
            if node.op_type not in _WHERE[layer.kink]:
                continue
            result = ""
            if layer.kink == "MaxPool":
                if len(node.output) < 2:
                    node.output.append(f"{node.output[0]}:indices")
                result = node.output[1]
            elif layer.kink == "ArgMax":
                result = node.output[0]
            self._places[kink_key(layer.name, times[layer.name])] = _Place(layer, node.input[0], result)
            times[layer.name] += 1
        extra = dict.fromkeys(name for p in self._places.values() for name in (p.source, p.result) if name)
        given = {t.name for t in graph.inputs}
        model.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(name)
            for name in extra
            if name not in self._outputs and name not in given
        )
        self._session = open_session(Prepared(model, {}, (), {}), settings)
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
            refusal = explain(error)
            raise RunError(f"onnxruntime failed in a step ({refusal.reason})", refusal.advice) from error
        results = dict(zip((o.name for o in self._session.get_outputs()), given, strict=True))
        kinks = {key: _kink(place, {**values, **results}) for key, place in self._places.items()}
        return StepResult({name: results[name] for name in self._outputs}, kinks)


def _kink(place: _Place, tensors: Mapping[str, Array]) -> Kink:
    x = tensors[place.source]
    low, high = place.layer.bounds
    if place.layer.kink == "Relu":
        return Kink("Relu", x, x > 0)
    if place.layer.kink == "Clip":
        return Kink("Clip", x, (x > low).astype(np.int8) + (x >= high))
    if place.layer.kink == "ArgMax":
        return Kink("ArgMax", x, tensors[place.result].reshape(x.shape[:-1]).astype(np.int64))
    # ONNX counts through the whole tensor; the branches are counted within a plane
    return Kink("MaxPool", x, tensors[place.result] % int(np.prod(x.shape[2:])))
