"""Another batch for graphs that are not in the usual form: operators of onnxruntime, sparse weights, functions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fathom_onnx.convert import find_converter
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph, from_model
from support.graphs.small_models import FLOAT, model, op


def rebatched(graph: Graph, batch: int) -> tuple[Graph, tuple[str, ...]]:
    converter = find_converter("batch")
    made = converter.convert(graph, converter.request("out", {"batch": batch}))
    content = made.files[".onnx"]
    assert isinstance(content, bytes)
    return from_model(onnx.load_from_string(content), "again"), made.notes


def optimized() -> Graph:
    """An operator that onnxruntime's optimizer keeps in the default domain."""
    weights = {"s": np.ones(3, np.float32), "w": np.ones((3, 4), np.float32)}
    nodes = [op("SimplifiedLayerNormalization", "x s", "n", "norm"), op("MatMul", "n w", "y", "fc")]
    return from_model(model(nodes, {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 4))}, weights, infer=False), "optimized")


def sparse() -> Graph:
    """A product with a 3 x 4 matrix of which two elements are not zero."""
    made = model([op("MatMul", "x w", "y", "fc")], {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 4))}, infer=False)
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1, 7], np.int64), "w_indices")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 4]))
    return from_model(made, "sparse")


def function() -> Graph:
    """A product in a local function that is called twice."""
    inner = helper.make_function(
        "own", "Fc", ["x", "w"], ["y"], [op("MatMul", "x w", "y")], [helper.make_opsetid("", 18)]
    )
    calls = [
        helper.make_node("Fc", ["x", "w"], ["h"], domain="own"),
        helper.make_node("Fc", ["h", "w"], ["y"], domain="own"),
    ]
    weights = {"w": np.ones((4, 4), np.float32)}
    made = model(calls, {"x": (FLOAT, (2, 4))}, {"y": (FLOAT, (2, 4))}, weights, infer=False)
    made.functions.append(inner)
    made.opset_import.append(helper.make_opsetid("own", 1))
    return from_model(made, "function")


@pytest.mark.parametrize("graph", [optimized(), sparse(), function()], ids=lambda graph: graph.name)
def test_it_is_rewritten_and_compared(graph: Graph) -> None:
    made, notes = rebatched(graph, 5)
    assert [t.shape for t in (*made.inputs, *made.outputs)] == [(5, graph.inputs[0].shape[1]), (5, 4)]  # type: ignore[index]
    assert "Compared with the original in onnxruntime, sample by sample: y." in notes


def test_a_batch_can_be_rewritten_again() -> None:
    nodes = [op("Reshape", "x shape", "y", "r")]
    constants = {"shape": np.array([2, 4])}
    graph = from_model(model(nodes, {"x": (FLOAT, (2, 2, 2))}, {"y": (FLOAT, (2, 4))}, constants), "twice")
    once, _ = rebatched(graph, 3)
    again, _ = rebatched(once, 5)
    assert [t.shape for t in again.outputs] == [(5, 4)]


def test_weights_that_are_inputs_are_not_taken_for_samples() -> None:
    """All first dimensions are 1; twice as many weights are none of an LSTM in one direction."""
    inputs = {"x": (FLOAT, (1, 3, 2)), "w": (FLOAT, (1, 12, 2)), "r": (FLOAT, (1, 12, 3))}
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=3)
    graph = from_model(model([node], inputs, {"h": (FLOAT, (1, 3, 3))}), "recurrent")
    with pytest.raises(GraphError, match="cannot be run at batch 1 and then 2"):
        rebatched(graph, 2)


def test_a_constant_whose_values_are_missing_is_said() -> None:
    made = model([op("Reshape", "x s", "y")], {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 3))}, {"s": [2, 3]})
    made.graph.initializer[0].raw_data = b"\0" * 8
    with pytest.raises(GraphError, match="the values of constant 's' of graph 'g' cannot be read"):
        rebatched(Graph(made, "g"), 4)
