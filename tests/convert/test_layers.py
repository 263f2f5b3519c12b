"""Every op with multiply-accumulates through every format of layers: the files hold all of them, by closed formulas."""

from __future__ import annotations

import pytest
from onnx import helper

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.convert import find_converter
from fathom_onnx.convert.layers import layers
from fathom_onnx.graph import Graph, from_model
from support.graphs.converted import macs_written
from support.graphs.product_models import PRODUCT_GRAPHS
from support.graphs.small_models import FLOAT, control_flow, data_dependent, model, op

FORMATS = ("accelforge", "compute-only", "maestro", "scalesim", "timeloop")


@pytest.mark.parametrize("case", PRODUCT_GRAPHS)
def test_the_cost_model_and_the_products_have_the_macs_of_the_formula(case: str) -> None:
    graph, macs = PRODUCT_GRAPHS[case]
    assert graph_costs(graph)[0].macs == macs
    (layer,), left_out = layers(graph)
    assert sum(product.macs for product in layer.products) == macs
    assert not left_out
    assert layer.nest is None or layer.nest.macs == macs


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", PRODUCT_GRAPHS)
def test_files_hold_all_of_them(name: str, case: str) -> None:
    graph, macs = PRODUCT_GRAPHS[case]
    converter = find_converter(name)
    conversion = converter.convert(graph, converter.request("out", {}))
    assert conversion.kept.macs == conversion.total.macs == macs
    assert macs_written(name, conversion) == macs


def reasons(graph: Graph) -> dict[str, str]:
    return {graph.model.graph.node[index].op_type: reason for index, reason in layers(graph)[1].items()}


def test_what_is_left_out_has_a_reason() -> None:
    assert reasons(control_flow())["Loop"] == "what its bodies do is not written"
    assert reasons(data_dependent())["MatMul"].startswith("its multiply-accumulates are not known: shape of ")
    det = model([op("Det", "x", "y")], {"x": (FLOAT, (2, 3, 3))}, {"y": (FLOAT, (2,))})
    assert reasons(from_model(det, "det")) == {"Det": "no form as matrix products"}
    outer = op("Einsum", "a b", "y", equation="i,j->ij")
    made = model([outer], {"a": (FLOAT, (2,)), "b": (FLOAT, (3,))}, {"y": (FLOAT, (2, 3))})
    assert reasons(from_model(made, "outer")) == {"Einsum": "no multiply-accumulates"}


def test_products_that_are_not_all_of_a_node_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = PRODUCT_GRAPHS["lstm-both-ways"]
    from fathom_onnx.convert import layers as module

    products = module.products
    monkeypatch.setattr(module, "products", lambda *given: (products(*given) or ())[:1])
    assert reasons(graph) == {"LSTM": "no form as matrix products"}


def test_nodes_of_one_name_stay_apart() -> None:
    nodes = [op("MatMulInteger", "x w", "a", "fc"), op("MatMulInteger", "x v", "b", "fc")]
    shapes = {"x": (2, 3), "w": (3, 4), "v": (3, 5)}
    made = model(nodes, {n: (2, s) for n, s in shapes.items()}, {"a": (6, (2, 4)), "b": (6, (2, 5))})
    graph = from_model(made, "twice")
    for name in FORMATS:
        converter = find_converter(name)
        conversion = converter.convert(graph, converter.request("out", {}))
        assert macs_written(name, conversion) == 2 * 3 * (4 + 5), name


def test_functions_are_written_out() -> None:
    inner = helper.make_function(
        "own",
        "Twice",
        ["x", "w"],
        ["y"],
        [op("MatMul", "x w", "m"), op("MatMul", "m w", "y")],
        [helper.make_opsetid("", 18)],
    )
    made = model(
        [helper.make_node("Twice", ["x", "w"], ["y"], domain="own")],
        {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 3))},
        {"y": (FLOAT, (2, 3))},
        infer=False,
    )
    made.functions.append(inner)
    made.opset_import.append(helper.make_opsetid("own", 1))
    graph = from_model(made, "function")
    for name in FORMATS:
        converter = find_converter(name)
        conversion = converter.convert(graph, converter.request("out", {}))
        assert macs_written(name, conversion) == conversion.kept.macs == 2 * 2 * 3 * 3, name
