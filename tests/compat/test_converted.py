"""Consumers of converted formats: what ``compat`` says is what ``convert`` keeps, for every op and for whole graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.compat import CONSUMERS, Facts, judge
from fathom_onnx.convert import find_converter
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph, from_model
from support.graphs.product_models import PRODUCT_GRAPHS
from support.graphs.small_models import FLOAT, cnn, control_flow, data_dependent, model, op

VIA = [consumer for consumer in CONSUMERS if consumer.via]
GRAPHS: dict[str, Graph] = {
    **{name: graph for name, (graph, _) in PRODUCT_GRAPHS.items()},
    "cnn": cnn(),
    "loop": control_flow(),
    "unknown": data_dependent(),
    "det": from_model(model([op("Det", "x", "y")], {"x": (FLOAT, (2, 3, 3))}, {"y": (FLOAT, (2,))}), "det"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_what_is_seen_is_what_is_kept(case: str) -> None:
    graph = GRAPHS[case]
    for consumer in VIA:
        found = judge(Facts(graph, graph.model), consumer)
        converter = find_converter(consumer.via)
        try:
            conversion = converter.convert(graph, converter.request("out", {}))
        except GraphError:
            assert (found.status, found.macs_seen) == ("refused", 0), consumer.name
            continue
        assert found.status == "converted", consumer.name
        assert (found.macs_seen, found.macs) == (conversion.kept.macs, conversion.total.macs), consumer.name
        assert found.commands == (f"convert --to {consumer.via}",)


def test_what_is_left_out_is_a_reason() -> None:
    graph = GRAPHS["loop"]
    found = judge(Facts(graph, graph.model), next(c for c in VIA if c.name == "Timeloop"))
    assert [r.text for r in found.reasons] == ["Loop is left out: what its bodies do is not written"]
    found = judge(Facts(GRAPHS["det"], GRAPHS["det"].model), next(c for c in VIA if c.name == "MAESTRO"))
    assert [r.text for r in found.reasons] == ["Det is left out: no form as matrix products"]


def call(*arguments: object) -> Any:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def opened(tmp_path: Path) -> Path:
    """A file of a product whose batch is open, without value_info."""
    nodes = [op("Relu", "x", "h", "r"), op("MatMul", "h w", "y", "m")]
    made = model(nodes, {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}, {"y": (FLOAT, (2, 4))}, infer=False)
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(made, tmp_path / "open.onnx")
    return tmp_path / "open.onnx"


@pytest.mark.parametrize("consumer", ["ZigZag", "Stream", "ONNXim"])
def test_sizes_that_are_given_are_those_of_the_graph(consumer: str, tmp_path: Path) -> None:
    path = opened(tmp_path)
    if consumer == "ONNXim":
        made = onnx.load(path)
        held = onnx.numpy_helper.from_array(np.zeros((3, 4), "float32"), "w")
        made.graph.initializer.append(held)
        del made.graph.input[1]
        onnx.save(made, path)
    document = call("compat", path, "--consumer", consumer, "--dim", "batch=6", "--json")
    (row,) = document["graphs"][0]["consumers"]
    assert (row["status"], row["macs_seen"], row["share"]) == ("accepted", 6 * 3 * 4, 1)


def test_functions_stay_functions_with_sizes_given(tmp_path: Path) -> None:
    path = opened(tmp_path)
    made = onnx.load(path)
    inner = onnx.helper.make_function(
        "own", "Own", ["x"], ["y"], [op("Relu", "x", "y")], [onnx.helper.make_opsetid("", 18)]
    )
    made.functions.append(inner)
    made.opset_import.append(onnx.helper.make_opsetid("own", 1))
    made.graph.node[0].CopyFrom(onnx.helper.make_node("Own", ["x"], ["h"], domain="own", name="o"))
    onnx.save(made, path)
    document = call("compat", path, "--consumer", "TVM", "--dim", "batch=6", "--json")
    (row,) = document["graphs"][0]["consumers"]
    assert [r["text"] for r in row["reasons"]] == ["the model has local functions"]


def test_sizes_are_read_as_by_the_other_commands(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["compat", str(opened(tmp_path)), "--dim", "batch=-1"])
    assert result.exit_code == 2
    assert "dimension 'batch' cannot be '-1'" in result.stderr
