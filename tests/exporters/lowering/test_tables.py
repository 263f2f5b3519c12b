"""The gradient of a table in all its forms against the definition, and which form is taken."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_exporters.lowering import DOMAIN, VERSION, Tag
from fathom_exporters.lowering.gradients.fast.tables import NANOSECONDS, _cheapest, _factors
from fathom_exporters.lowering.lower import LowerGradients
from support.graphs.lowering import FLOAT, close, private_model, run, value

INT64 = ir.TensorType(ir.DataType.INT64)


def gradient(dy: np.ndarray, indices: np.ndarray, rows: int) -> np.ndarray:
    """By the definition."""
    width = dy.shape[indices.ndim :]
    total = np.zeros((rows, *width))
    np.add.at(total, indices.reshape(-1), dy.reshape(-1, *width))
    return total


def kinds(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph}


class Bags:
    """A model in which rows of g [..., D] are repeated W times, weighted, and summed into a table."""

    def __init__(self, lead, words, width, weights=None, repeat="Expand", flat=False, first=False, rows=50) -> None:
        rng = np.random.default_rng(0)
        self.rows = rows
        self.indices = rng.integers(0, rows, (*lead, words))
        self.g = rng.normal(size=(*lead, width))
        p = np.ones((words, width)) if weights is None else weights
        dy = np.broadcast_to(self.g[..., np.newaxis, :] * p, (*lead, words, width))
        self.expected = gradient(dy, self.indices, rows)
        g, indices = value("g", self.g), ir.Value(name="i", type=INT64, shape=ir.Shape(self.indices.shape))
        self.graph_constants: list[ir.Value] = []
        full = (*lead, words, width)
        once = self.made("Reshape", [g, self.constant("once", [*lead, 1, width])], (*lead, 1, width))
        amounts = list(full) if repeat == "Expand" else [1] * len(lead) + [words, 1]
        nodes = [once]
        if repeat != "Mul":  # else the product with the weights repeats them
            nodes.append(self.made(repeat, [once.outputs[0], self.constant("amounts", amounts)], full))
        if weights is not None:
            factor = self.constant("weights", np.asarray(weights, np.float32))
            operands = [nodes[-1].outputs[0], factor]
            nodes.append(self.made("Mul", operands[::-1] if first else operands, full))
        read: ir.Value = indices
        if flat:
            n = self.indices.size
            nodes.append(self.made("Reshape", [nodes[-1].outputs[0], self.constant("flat", [n, width])], (n, width)))
            flat_indices = self.made("Reshape", [indices, self.constant("all", [n])], (n,))
            flat_indices.outputs[0].type = INT64
            nodes.append(flat_indices)
            read = flat_indices.outputs[0]
        dy = nodes[-2].outputs[0] if flat else nodes[-1].outputs[0]
        last = ir.node("GatherGrad", [dy, read], {"rows": rows}, domain=DOMAIN)
        last.outputs[0].name, last.outputs[0].type = "dw", FLOAT
        last.outputs[0].shape = ir.Shape([rows, width])
        Tag("backward", "layer", "GatherGrad", "one").put(last)
        graph = ir.Graph(
            [g, indices],
            list(last.outputs),
            nodes=[*nodes, last],
            initializers=self.graph_constants,
            opset_imports={"": 18, DOMAIN: VERSION},
            name="g",
        )
        self.model = ir.Model(graph, ir_version=10)

    def made(self, op: str, inputs: list[ir.Value], shape: tuple[int, ...]) -> ir.Node:
        node = ir.node(op, inputs)
        node.outputs[0].name = f"{op}_{len(self.graph_constants)}"
        node.outputs[0].type, node.outputs[0].shape = FLOAT, ir.Shape(shape)
        return node

    def constant(self, name: str, content) -> ir.Value:
        array = np.asarray(content)
        made = ir.Value(
            name=name,
            const_value=ir.tensor(array),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            shape=ir.Shape(array.shape),
        )
        self.graph_constants.append(made)
        return made

    def check(self) -> set[str]:
        """Lower it, compare it with the definition, and say which ops it has."""
        LowerGradients("onnxruntime")(self.model)
        close(run(self.model, {"g": self.g, "i": self.indices})[0], self.expected)
        return kinds(self.model)


def position_encoding(words: int, width: int) -> np.ndarray:
    """MemN2N's weights, of rank 2."""
    j, k = np.arange(1, words + 1)[:, np.newaxis] / words, np.arange(1, width + 1) / width
    return (1 - j) - k * (1 - 2 * j)


RNG = np.random.default_rng(1)


@pytest.mark.parametrize("lead", [(6,), (2, 7), (2, 1, 3)])
@pytest.mark.parametrize("repeat", ["Expand", "Tile", "Mul"])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("weights", "products"),
    [
        (None, 1),
        (position_encoding(11, 20), 2),
        (RNG.normal(size=(11, 1)), 1),
        (RNG.normal(size=(20,)), 1),
        (RNG.normal(size=(1, 11, 1)) * np.ones(20), 1),
        (RNG.normal(size=(11, 1)) * RNG.normal(size=20), 1),
        (np.zeros((11, 20)), 1),
    ],
)
def test_bags_are_counted(lead, repeat, flat, weights, products) -> None:
    if weights is not None and weights.ndim > len(lead) + 2:
        pytest.skip("weights with more axes than what they weigh")
    if repeat == "Mul" and (weights is None or weights.ndim < 2):
        pytest.skip("weights that repeat nothing")
    bags = Bags(lead, 11, 20, weights, repeat, flat)
    assert {"ScatterElements", "Gemm"} <= bags.check()
    assert sum(node.op_type == "Gemm" for node in bags.model.graph) == products


def test_weights_may_come_first() -> None:
    assert "Gemm" in Bags((6,), 11, 20, position_encoding(11, 20), first=True).check()


def test_weights_of_full_rank_are_not_factorised() -> None:
    # 11 products are more work than a scatter
    assert "Gemm" not in Bags((6,), 11, 20, RNG.normal(size=(11, 20)), rows=2000).check()


def test_weights_that_differ_between_bags_are_no_weights_of_words() -> None:
    assert "Gemm" not in Bags((6,), 11, 20, RNG.normal(size=(6, 1, 1)), rows=2000).check()


def test_one_repetition_is_no_bag() -> None:
    assert "Gemm" not in Bags((6,), 1, 20, rows=2000).check()


@pytest.mark.parametrize(
    ("count", "rows", "width", "bags", "form"),
    [  # the rows of the measurements
        (352, 180, 20, 0, "scatter"),
        (17600, 180, 20, 1600, "counts"),
        (2048, 50, 64, 0, "product"),
        (2048, 1000, 64, 0, "scatter"),
        (640, 200, 768, 0, "product"),
        (640, 2000, 768, 0, "scatter"),
        (512, 30000, 256, 64, "scatter"),
    ],
)
def test_the_form_is_that_of_the_least_cost(count, rows, width, bags, form) -> None:
    assert _cheapest(count, rows, width, bags, 1) == form
    assert set(NANOSECONDS) == {"scatter", "one_hot", "fill", "multiply"}


@settings(max_examples=40, derandomize=True)
@given(
    index_shape=st.lists(st.integers(1, 6), min_size=0, max_size=3),
    row=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    rows=st.sampled_from((1, 3, 40, 3000)),
    negative=st.booleans(),
    seed=st.integers(0, 9),
)
def test_every_form_is_the_definition(index_shape, row, rows, negative, seed) -> None:
    rng = np.random.default_rng(seed)
    indices = rng.integers(-rows if negative else 0, rows, index_shape)
    indices = np.asarray(indices, np.int64)
    dy = rng.normal(size=(*index_shape, *row))
    inputs = {"dy": dy, "indices": indices}
    model = private_model("GatherGrad", inputs, [(rows, *row)], rows=rows)
    LowerGradients("onnxruntime")(model)
    close(run(model, inputs)[0], gradient(dy, indices, rows))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_factors_have_the_rank_of_the_weights(rank: int) -> None:
    exact = RNG.normal(size=(7, rank)) @ RNG.normal(size=(rank, 5))
    weights = exact.astype(np.float32)
    a, k = _factors(weights)
    assert (a.shape, k.shape) == ((rank, 7), (rank, 5))
    assert np.abs(a.T @ k - weights).max() < 4e-7 * np.abs(weights).max()


def test_factors_of_plain_weights_are_these_weights() -> None:
    words = RNG.normal(size=(7, 1)).astype(np.float32)
    a, k = _factors(np.broadcast_to(words, (7, 5)))
    assert (a == words.T).all()
    assert (k == 1).all()
