"""Parameters: a weight in any form counts once, with its elements, at the node that uses it; other constants do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.parameters import parameters_by_node
from support.graphs.small_models import BOOL, FLOAT, INT64, model, op

INFO = helper.make_tensor_value_info
MS = "com.microsoft"


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def sparse(name: str, dims: list[int], places: list[int]) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.ones(len(places), np.float32), name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.array(places), f"{name}_at"), dims)


def parameters(nodes: list[onnx.NodeProto], constants: dict[str, Any], *more: onnx.TensorProto) -> dict[str, int]:
    """Elements by node name, for a graph of an input ``x`` and an output ``y``."""
    made = model(nodes, {"x": (FLOAT, (4, 4))}, {"y": (FLOAT, None)}, constants, infer=False)
    made.graph.initializer.extend(more)
    return by_name(made)


def by_name(made: onnx.ModelProto) -> dict[str, int]:
    entries = numbered(made.graph)
    return {entries[index].node.name: count for index, count in parameters_by_node(Graph(made, "g")).items()}


def packed(name: str, dims: list[int], kind: int = TensorProto.INT4) -> onnx.TensorProto:
    return helper.make_tensor(name, kind, dims, bytes((int(np.prod(dims)) + 1) // 2), raw=True)


def test_sparse_weights_are_the_dense_ones_that_a_runtime_makes_of_them() -> None:
    given = model([op("MatMul", "x w", "y", "fc")], {"x": (FLOAT, (4, 8))}, {"y": (FLOAT, None)}, infer=False)
    given.graph.sparse_initializer.append(sparse("w", [8, 3], [0, 7]))
    assert by_name(given) == {"fc": 24}
    node = helper.make_node("Constant", [], ["w"], sparse_value=sparse("", [8, 3], [0, 7]))
    assert parameters([node, op("MatMul", "x w", "y", "fc")], {}) == {"fc": 24}


def test_weights_in_constant_nodes() -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(ones(4, 3))),
        helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Constant", [], ["shape"], value_ints=[12]),
        op("Gemm", "x w b", "h", "fc"),
        op("Mul", "h half", "s", "scale"),
        op("Reshape", "s shape", "y", "flat"),
    ]
    assert parameters(nodes, {}) == {"fc": 15}


@pytest.mark.parametrize(
    ("chain", "constants"),
    [
        ([op("Identity", "w", "v")], {"w": ones(3, 4)}),
        ([op("Transpose", "w", "v")], {"w": ones(4, 3)}),
        ([op("Reshape", "w shape", "v")], {"w": ones(12), "shape": np.array([4, 3])}),
        ([op("Cast", "w", "v", to=FLOAT)], {"w": np.ones((4, 3), np.float16)}),
        ([op("Cast", "w", "v", to=FLOAT)], {"w": np.ones((4, 3), np.int8)}),
        ([op("Unsqueeze", "w at", "u"), op("Squeeze", "u at", "v")], {"w": ones(4, 3), "at": np.array([0])}),
        (
            [op("DequantizeLinear", "w s z", "v")],
            {"w": np.ones((4, 3), np.int8), "s": ones(3), "z": np.zeros(3, np.int8)},
        ),
        (
            [op("QuantizeLinear", "w s", "q"), op("DequantizeLinear", "q s", "v")],
            {"w": ones(4, 3), "s": np.float32(1)},
        ),
        (
            [op("DequantizeLinear", "w s", "d"), op("Transpose", "d", "t"), op("Identity", "t", "v")],
            {"w": np.ones((3, 4), np.uint8), "s": ones(4)},
        ),
    ],
)
def test_a_weight_counts_with_the_node_that_truly_uses_it(chain: list[Any], constants: dict[str, Any]) -> None:
    assert parameters([*chain, op("MatMul", "x v", "y", "fc")], constants) == {"fc": 12}


def test_a_weight_that_is_reached_in_two_ways_counts_once() -> None:
    nodes = [
        op("Transpose", "w", "wt", "t"),
        op("MatMul", "x wt", "h", "one"),
        op("Identity", "w", "same"),
        op("MatMul", "h same", "i", "two"),
        op("MatMul", "i w", "y", "three"),
    ]
    assert parameters(nodes, {"w": ones(4, 4)}) == {"one": 16}


@pytest.mark.parametrize(
    ("node", "constants", "expected"),
    [
        # thresholds, bounds, values to choose from
        (op("NonMaxSuppression", "x x n iou t", "y", "n"), {"n": np.array([9]), "iou": ones(1), "t": ones(1)}, 0),
        (op("OneHot", "x d v", "y", "n"), {"d": np.int64(3), "v": ones(2)}, 0),
        (op("Clip", "x a b", "y", "n"), {"a": ones(1), "b": np.float32(1)}, 0),
        (op("Max", "x a", "y", "n"), {"a": ones(4)}, 0),
        (op("Greater", "x a", "y", "n"), {"a": ones(4)}, 0),
        (op("Pow", "x a", "y", "n"), {"a": ones(4)}, 0),
        (op("Pad", "x p v", "y", "n"), {"p": np.zeros(4, np.int64), "v": ones(1)}, 0),
        (op("Resize", "x r s", "y", "n"), {"r": ones(0), "s": ones(2)}, 0),
        # single factors, epsilons and fillings
        (op("Mul", "x a", "y", "n"), {"a": ones(1)}, 0),
        (op("Add", "a x", "y", "n"), {"a": ones(1, 1)}, 0),
        (op("Where", "c x a", "y", "n"), {"c": np.ones((4, 4), bool), "a": ones(1)}, 0),
        (op("Div", "x a", "y", "n"), {"a": np.float32(8)}, 0),
        # weights, a single one as well where an op is made for it
        (op("Mul", "x a", "y", "n"), {"a": ones(4)}, 4),
        (op("PRelu", "x a", "y", "n"), {"a": ones(1)}, 1),
        (op("Gemm", "x a b", "y", "n"), {"a": ones(4, 1), "b": ones(1)}, 5),
        (op("LayerNormalization", "x a b", "y", "n"), {"a": ones(4), "b": ones(4)}, 8),
        (op("Concat", "x a", "y", "n", axis=0), {"a": ones(1, 4)}, 4),
        # tables of small integers are quantized weights; of wide ones they are indices
        (op("Gather", "a x", "y", "n"), {"a": np.ones((10, 3), np.uint8)}, 30),
        (op("Gather", "a x", "y", "n"), {"a": np.ones((10, 3), np.int64)}, 0),
        (op("MatMul", "x a", "y", "n"), {"a": np.ones((4, 3), np.int32)}, 0),
    ],
)
def test_what_is_a_weight(node: onnx.NodeProto, constants: dict[str, Any], expected: int) -> None:
    assert sum(parameters([node], constants).values()) == expected


def test_the_bias_of_a_product_with_one_column_is_a_weight() -> None:
    nodes = [op("MatMul", "x w", "h", "fc"), op("Add", "h b", "i", "bias"), op("Add", "i eps", "y", "eps")]
    assert parameters(nodes, {"w": ones(4, 1), "b": ones(1), "eps": ones(1)}) == {"fc": 4, "bias": 1}


def test_four_bit_weights_count_by_their_elements() -> None:
    dequantized = [op("DequantizeLinear", "w s", "v"), op("MatMul", "x v", "y", "fc")]
    assert parameters(dequantized, {"s": ones(3)}, packed("w", [4, 3])) == {"fc": 12}
    experts = helper.make_node(
        "QMoE", ["x", "x", "w1", "s1", "", "w2", "s2"], ["y"], "moe", domain=MS, expert_weight_bits=4, k=1
    )
    stored = {
        "w1": np.ones((2, 6, 2), np.uint8),
        "w2": np.ones((2, 4, 3), np.uint8),
        "s1": ones(2, 6),
        "s2": ones(2, 4),
    }
    assert parameters([experts], stored) == {"moe": 2 * 6 * 4 + 2 * 4 * 6}


def test_initializers_among_the_inputs_are_weights() -> None:
    """As in files of IR version 3."""
    made = model(
        [op("Gemm", "x w b", "y", "fc")],
        {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 5)), "b": (FLOAT, (5,))},
        {"y": (FLOAT, None)},
        {"w": ones(3, 5), "b": ones(5)},
        infer=False,
    )
    assert by_name(made) == {"fc": 20}


def branch(name: str, columns: int, *, weight: bool = True) -> onnx.GraphProto:
    """x w, the product called ``p``; with a weight of its own, or that of the graph around it."""
    constants = [numpy_helper.from_array(ones(4, columns), "w")] if weight else []
    nodes = [op("MatMul", "x w", "p", f"{name}/fc"), op("ReduceMax", "p", f"{name}_y", f"{name}/max", keepdims=0)]
    return helper.make_graph(nodes, name, [], [INFO(f"{name}_y", FLOAT, [])], constants)


def choice(then: onnx.GraphProto, other: onnx.GraphProto, constants: dict[str, Any], after: str = "") -> dict[str, int]:
    nodes = [op("If", "c", "h", then_branch=then, else_branch=other)]
    nodes += [op("MatMul", f"x {after}", "y", "after")] if after else [op("Identity", "h", "y")]
    return by_name(model(nodes, {"x": (FLOAT, (4, 4)), "c": (BOOL, ())}, {"y": (FLOAT, None)}, constants, infer=False))


def test_bodies_with_weights_of_the_same_name_have_their_own() -> None:
    assert choice(branch("a", 3), branch("b", 5), {}) == {"a/fc": 12, "b/fc": 20}


def test_a_bodys_weight_hides_that_of_the_same_name_around_it() -> None:
    found = choice(branch("a", 3), branch("b", 2, weight=False), {"w": ones(4, 2)}, after="w")
    assert found == {"a/fc": 12, "b/fc": 8}


def test_a_tensor_of_a_body_hides_a_weight_of_the_same_name_around_it() -> None:
    hidden = branch("a", 3, weight=False)
    hidden.node.insert(0, op("Exp", "x", "w"))
    assert choice(hidden, branch("b", 5), {"w": ones(4, 2)}, after="w") == {"b/fc": 20, "after": 8}


def test_weights_in_constant_nodes_of_bodies() -> None:
    parts = [branch(name, 0, weight=False) for name in "ab"]
    for part, columns in zip(parts, (3, 5), strict=True):
        value = numpy_helper.from_array(ones(4, columns))
        part.node.insert(0, helper.make_node("Constant", [], ["w"], value=value))
    assert choice(*parts, {}) == {"a/fc": 12, "b/fc": 20}


def loop(kind: str, outer: str, inner: list[onnx.ValueInfoProto], nodes: list[onnx.NodeProto], **more: Any) -> Any:
    results = more.pop("results")
    body = helper.make_graph(nodes, "body", inner, [INFO(name, FLOAT, None) for name in results])
    return op(kind, outer, "y", body=body, **more)


def test_weights_that_are_handed_to_a_body() -> None:
    index, go, state, weight = (
        INFO("i", INT64, []),
        INFO("go", BOOL, []),
        INFO("h", FLOAT, None),
        INFO("u", FLOAT, None),
    )
    product, on, same = op("MatMul", "h u", "k", "fc"), op("Identity", "go", "on"), op("Identity", "u", "v")
    constants = {"n": np.int64(3), "yes": np.bool_(True), "w": ones(4, 4), "zero": ones(4, 4), "all": ones(6, 4, 4)}
    # handed on as it is in every iteration; the first state is no weight
    node = loop("Loop", "n yes zero w", [index, go, state, weight], [product, on, same], results=["on", "k", "v"])
    assert parameters([node], constants) == {"fc": 16}
    # a scan goes along the weights of its layers
    node = loop("Scan", "x all", [state, weight], [product], results=["k"], num_scan_inputs=1)
    assert parameters([node], constants) == {"fc": 96}
    node = loop("SequenceMap", "x w", [state, weight], [product], results=["k"])
    assert parameters([node], constants) == {"fc": 16}
