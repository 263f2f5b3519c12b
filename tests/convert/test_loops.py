"""Loop nests, and the formats that are written from them: AccelForge, Timeloop, MAESTRO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.convert import CONVERTERS, find_converter
from fathom_onnx.convert.contractions import Contraction
from fathom_onnx.convert.converter import Conversion
from fathom_onnx.convert.layers import layers
from fathom_onnx.errors import GraphError, UnknownNameError
from fathom_onnx.graph import Graph, from_model
from support.graphs.converted import macs_written, parsed, text
from support.graphs.product_models import PRODUCT_GRAPHS
from support.graphs.small_models import FLOAT, line_inference, model, op

FORMATS = ("accelforge", "timeloop", "maestro")


def one(node: Any, inputs: dict[str, tuple[int, ...]], output: tuple[int, ...]) -> Graph:
    made = model([node], {n: (FLOAT, s) for n, s in inputs.items()}, {"y": (FLOAT, output)})
    return from_model(made, "one")


CONV = one(
    op("Conv", "x w", "y", "c", kernel_shape=[3, 5], strides=[2, 1], dilations=[1, 1], pads=[1, 0, 1, 0]),
    {"x": (2, 4, 9, 11), "w": (6, 4, 3, 5)},
    (2, 6, 5, 7),
)
GROUPED = one(
    op("Conv", "x w", "y", "g", kernel_shape=[3], dilations=[2], group=2),
    {"x": (1, 4, 9), "w": (6, 2, 3)},
    (1, 6, 5),
)
TRANSPOSED = one(
    op("ConvTranspose", "x w", "y", "t", kernel_shape=[3, 3], strides=[2, 2]),
    {"x": (2, 4, 5, 5), "w": (4, 3, 3, 3)},
    (2, 3, 11, 11),
)
GEMM = one(op("Gemm", "x w", "y", "m", transA=1, transB=1), {"x": (7, 2), "w": (5, 7)}, (2, 5))
BATCHED = one(op("MatMul", "x w", "y", "b"), {"x": (3, 2, 4), "w": (3, 4, 5)}, (3, 2, 5))
SHARED = one(op("MatMul", "x w", "y", "s"), {"x": (3, 2, 4), "w": (4, 5)}, (3, 2, 5))
SPREAD = one(op("MatMul", "x w", "y", "s"), {"x": (1, 2, 4), "w": (3, 4, 5)}, (3, 2, 5))
VECTOR = one(op("MatMul", "x w", "y", "v"), {"x": (4,), "w": (4, 5)}, (5,))
SQUARE = one(op("MatMul", "x x", "y", "q"), {"x": (4, 4)}, (4, 4))
CASES = (CONV, GROUPED, TRANSPOSED, GEMM, BATCHED, SHARED, SPREAD, VECTOR, SQUARE)
IDS = ("conv", "grouped", "transposed", "gemm", "batched", "shared", "spread", "vector", "square")


def made(graph: Graph, name: str, **options: str) -> Conversion:
    converter = find_converter(name)
    return converter.convert(graph, converter.request("out", options))


def only(graph: Graph) -> Contraction:
    (layer,), _ = layers(graph)
    assert layer.nest is not None
    return layer.nest


def test_a_convolution_as_loops() -> None:
    nest = only(CONV)
    assert nest.sizes == {"n": 2, "m": 6, "c": 4, "p": 5, "q": 7, "r": 3, "s": 5}
    assert nest.image.axes == ((("n", 1),), (("c", 1),), (("p", 2), ("r", 1)), (("q", 1), ("s", 1)))
    assert nest.weights.axes == ((("m", 1),), (("c", 1),), (("r", 1),), (("s", 1),))
    assert nest.output.axes == ((("n", 1),), (("m", 1),), (("p", 1),), (("q", 1),))
    assert nest.macs == 2 * 6 * 5 * 7 * 4 * 3 * 5


def test_groups_and_dilation() -> None:
    nest = only(GROUPED)
    assert nest.sizes == {"n": 1, "g": 2, "m": 3, "c": 2, "p": 5, "r": 3}
    assert nest.image.axes[1:] == ((("g", 2), ("c", 1)), (("p", 1), ("r", 2)))
    assert nest.weights.axes[:2] == ((("g", 3), ("m", 1)), (("c", 1),))
    assert nest.macs == 180


def test_a_transposed_convolution_scatters() -> None:
    nest = only(TRANSPOSED)
    assert nest.sizes == {"n": 2, "m": 3, "c": 4, "p": 5, "q": 5, "r": 3, "s": 3}
    assert nest.output.axes[2:] == ((("p", 2), ("r", 1)), (("q", 2), ("s", 1)))
    assert nest.weights.axes[:2] == ((("c", 1),), (("m", 1),))


def test_matrix_products() -> None:
    assert only(GEMM).sizes == {"n": 2, "m": 5, "c": 7}
    assert only(GEMM).image.axes == ((("c", 1),), (("n", 1),))
    assert only(BATCHED).sizes == {"b0": 3, "n": 2, "m": 5, "c": 4}
    assert only(SHARED).weights.axes == ((("c", 1),), (("m", 1),))
    assert only(SPREAD).image.axes == ((("z", 1),), (("n", 1),), (("c", 1),))
    assert only(VECTOR).sizes == {"m": 5, "c": 4}


@pytest.mark.parametrize("graph", CASES, ids=IDS)
def test_loops_have_the_macs_of_the_cost_model(graph: Graph) -> None:
    assert only(graph).macs == graph_costs(graph)[0].macs


@pytest.mark.parametrize("graph", CASES, ids=IDS)
def test_every_index_stays_inside_its_axis(graph: Graph) -> None:
    nest = only(graph)
    pads = 1 if graph is CONV else 0
    for operand in (nest.image, nest.weights, nest.output):
        shape = graph.tensors[operand.tensor].shape
        assert shape is not None
        assert len(operand.axes) == len(shape)
        for axis, size in zip(operand.axes, shape, strict=True):
            assert sum(factor * (nest.sizes[name] - 1) for name, factor in axis) < size + 2 * pads


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("graph", CASES, ids=IDS)
def test_files_hold_the_macs_that_are_stated(name: str, graph: Graph) -> None:
    conversion = made(graph, name)
    assert conversion.kept.macs == conversion.total.macs == graph_costs(graph)[0].macs
    assert macs_written(name, conversion) == conversion.kept.macs
    assert not conversion.left_out


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("workload", ["deepq", "memnet", "residual"])
def test_our_graphs_keep_all_macs(name: str, workload: str, mode: str, tiny: Callable[..., Graph]) -> None:
    graph = tiny(workload, "torch", mode)
    conversion = made(graph, name)
    assert conversion.kept.macs == macs_written(name, conversion) == sum(c.macs or 0 for c in graph_costs(graph))
    assert conversion.kept.nodes + sum(row.nodes for row in conversion.left_out) == conversion.total.nodes


def test_an_accelforge_einsum() -> None:
    (einsum,) = parsed(text(made(CONV, "accelforge"), ".accelforge.yaml"))["workload"]["einsums"]
    image, weights, output = einsum["tensor_accesses"]
    assert image["projection"] == {"D0": "n", "D1": "c", "D2": "2*p+r", "D3": "q+s"}
    assert image["bits_per_value"] == 32
    assert weights["name"] == "t_w"
    assert output["output"] is True
    assert "0 <= q < 7" in einsum["iteration_space_shape"]


def test_accelforge_names_a_squared_tensor_twice_and_keeps_names_apart() -> None:
    (einsum,) = parsed(text(made(SQUARE, "accelforge"), ".accelforge.yaml"))["workload"]["einsums"]
    assert len({access["name"] for access in einsum["tensor_accesses"]}) == 3
    nodes = [op("MatMul", "a.b w", "a_b", "All"), op("MatMul", "a_b w", "Total", "Total")]
    shapes = {"a.b": (FLOAT, (2, 2)), "w": (FLOAT, (2, 2))}
    graph = from_model(model(nodes, shapes, {"Total": (FLOAT, (2, 2))}), "names")
    first, second = parsed(text(made(graph, "accelforge"), ".accelforge.yaml"))["workload"]["einsums"]
    assert [first["name"], second["name"]] == ["All_2", "Total_2"]
    assert [a["name"] for a in first["tensor_accesses"]] == ["a_b", "t_w", "a_b_2"]
    assert second["tensor_accesses"][0]["name"] == "a_b_2"


def test_a_timeloop_problem() -> None:
    problem = parsed(text(made(CONV, "timeloop"), ".problem0001.yaml"))["problem"]
    sizes = {"G": 1, "C": 4, "M": 6, "R": 3, "S": 5, "N": 2, "P": 5, "Q": 7}
    assert problem["instance"] == {**sizes, "Hstride": 2, "Wstride": 1, "Hdilation": 1, "Wdilation": 1}
    inputs = problem["shape"]["data-spaces"][1]
    assert inputs["projection"][3] == [["R", "Hdilation"], ["P", "Hstride"]]


def test_timeloop_batches() -> None:
    def instance(graph: Graph) -> dict[str, int]:
        return parsed(text(made(graph, "timeloop"), ".problem0001.yaml"))["problem"]["instance"]

    assert [instance(BATCHED)[d] for d in "GNMC"] == [3, 2, 5, 4]
    assert [instance(SHARED)[d] for d in "GNMC"] == [1, 6, 5, 4]
    assert [instance(SPREAD)[d] for d in "GNMC"] == [1, 2, 15, 4]


def test_a_convolution_of_three_axes_as_a_timeloop_problem() -> None:
    problem = parsed(text(made(PRODUCT_GRAPHS["conv-3d-grouped"][0], "timeloop"), ".problem0001.yaml"))["problem"]
    assert problem["shape"]["dimensions"] == list("GCMRSNPQUT")
    sizes = {"G": 2, "C": 2, "M": 3, "R": 2, "S": 3, "U": 3, "N": 1, "P": 4, "Q": 4, "T": 3}
    steps = {"Hstride": 1, "Wstride": 1, "Dstride": 2, "Hdilation": 1, "Wdilation": 1, "Ddilation": 2}
    assert problem["instance"] == sizes | steps
    weights, inputs, outputs = problem["shape"]["data-spaces"]
    assert weights["projection"][5] == [["U"]]
    assert inputs["projection"][5] == [["U", "Ddilation"], ["T", "Dstride"]]
    assert outputs["projection"][5] == [["T"]]


def test_a_recurrent_layer_is_two_problems_and_einsums_of_its_own() -> None:
    graph, _ = PRODUCT_GRAPHS["lstm-both-ways"]
    index = parsed(text(made(graph, "timeloop"), ".timeloop.yaml"))["layers"]
    assert [(row["node"], row["macs"]) for row in index] == [("node", 2 * 10 * 16 * 3), ("node", 10 * 2 * 16 * 4)]
    first, second = parsed(text(made(graph, "accelforge"), ".accelforge.yaml"))["workload"]["einsums"]
    assert (first["name"], second["name"]) == ("node_1", "node_2")
    assert [a["name"] for a in second["tensor_accesses"]] == ["node_2_left", "node_2_right", "node_2_out"]


def test_an_einsum_keeps_its_tensors_in_accelforge() -> None:
    graph, _ = PRODUCT_GRAPHS["einsum-implicit"]
    (einsum,) = parsed(text(made(graph, "accelforge"), ".accelforge.yaml"))["workload"]["einsums"]
    left, right, out = einsum["tensor_accesses"]
    assert (left["name"], right["name"], out["name"]) == ("i0", "i1", "o0")
    assert list(right["projection"].values()) == ["e", "f"]
    assert list(left["projection"].values())[:2] == list(out["projection"].values())[:2]


def test_equal_layers_share_a_timeloop_problem() -> None:
    nodes = [op("MatMul", "x w", "h", "first"), op("MatMul", "h w", "y", "second")]
    graph = from_model(model(nodes, {"x": (FLOAT, (2, 4)), "w": (FLOAT, (4, 4))}, {"y": (FLOAT, (2, 4))}), "two")
    conversion = made(graph, "timeloop")
    index = parsed(text(conversion, ".timeloop.yaml"))["layers"]
    assert [(row["node"], row["problem"], row["macs"]) for row in index] == [
        ("first", "out.problem0001.yaml", 32),
        ("second", "out.problem0001.yaml", 32),
    ]
    assert set(conversion.files) == {".timeloop.yaml", ".problem0001.yaml"}


def test_a_maestro_layer() -> None:
    written = text(made(CONV, "maestro"), ".m")
    assert written.startswith("Network one {\nLayer L0_c {\nType: CONV\nStride { X: 1, Y: 2 }\n")
    assert "Dimensions { N: 2, K: 6, C: 4, R: 3, S: 5, Y: 11, X: 11 }" in written
    assert "Cluster(64, P);" in written
    assert "Cluster(8, P);" in text(made(CONV, "maestro", dataflow="yxp"), ".m")
    assert written.count("{") == written.count("}")
    with pytest.raises(UnknownNameError, match="kcp"):
        CONVERTERS["maestro"].request("out", {"dataflow": "kpc"})


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_to_convert_is_an_error(name: str) -> None:
    graph = one(op("Relu", "x", "y", "r"), {"x": (2,)}, (2,))
    with pytest.raises(GraphError, match="no convolution or matrix product"):
        made(graph, name)


def test_what_is_left_out_is_said() -> None:
    graph = line_inference()
    (row,) = made(graph, "timeloop").left_out
    assert (row.op, row.nodes, row.macs, row.reason) == ("Relu", 1, 0, "no multiply-accumulates")
