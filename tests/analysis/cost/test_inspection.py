"""``inspect``: graphs looked at without weights, with open dimensions, and what is not understood."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from fathom_onnx.analysis.cost.inspection import GROUPS, inspect
from fathom_onnx.cli import main
from fathom_onnx.errors import GraphError, UnknownNameError
from fathom_onnx.graph import Graph, from_model, load_structure
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.parameters import parameters_by_node
from support.graphs.published_networks import resnet50
from support.graphs.small_models import FLOAT, INT64, cnn, control_flow, line_training, model, op


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["inspect", *arguments])
    return result.exit_code, result.stdout, result.stderr


def third_party() -> onnx.ModelProto:
    """An op of nobody's domain, a search of unknown cost, a dynamic batch, and a product after all of it."""
    nodes = [
        op("MatMul", "x w", "h", "/fc/MatMul"),
        helper.make_node("Magic", ["h"], ["m"], name="/odd/Magic", domain="their.own"),
        op("Unique", "h", "u", "/odd/Unique"),
        op("Relu", "h", "y", "/fc/Relu"),
    ]
    made = model(
        nodes,
        {"x": (FLOAT, ("batch", 3))},  # type: ignore[dict-item]
        {"y": (FLOAT, None), "m": (FLOAT, None), "u": (FLOAT, None)},
        {"w": np.ones((3, 4), np.float32)},
        infer=False,
    )
    made.opset_import.append(helper.make_opsetid("their.own", 1))
    return made


def test_rows_and_sums_of_one_of_our_graphs() -> None:
    found = inspect(line_training())
    assert len(found.nodes) == 8
    by_phase = found.by("phase").set_index("name")
    assert list(by_phase.index) == ["forward", "loss", "backward", "optimizer"]
    # a product of 3 elements and their sum; a square and a sum of one element each
    assert list(by_phase["flops"]) == [6, 2, 3, 7]
    assert by_phase.loc["forward", "parameters"] == 3
    assert by_phase["unknown"].sum() == 0
    # Mul reads 2 x 12 bytes and writes 12, ReduceSum reads 12 and writes 4
    assert by_phase.loc["forward", "bytes"] == 24 + 12 + 12 + 4
    assert by_phase.loc["forward", "intensity"] == pytest.approx(6 / 52)
    assert found.summary()["workload"] == "line"


@pytest.mark.parametrize("graph", [cnn(), control_flow(), line_training()])
def test_sums_by_any_group_are_the_total(graph: Graph) -> None:
    found = inspect(graph)
    for group in GROUPS:
        table = found.by(group)
        counts = [f"{kind}_{amount}" for kind in ("known", "unknown") for amount in ("macs", "flops", "bytes")]
        for column in ("nodes", "parameters", "unknown", *counts):
            assert table[column].sum() == found.totals[column], (group, column)


def test_what_is_not_understood_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(third_party(), path)
    found = inspect(load_structure(path, {"batch": 2}))
    assert found.unlisted == {"their.own::Magic": 1}
    assert [(row["reason"], row["nodes"]) for row in found.unknown_costs] == [
        ("operator 'their.own::Magic' is in no table", 1),
        ("how many comparisons it makes is data", 1),
    ]
    assert found.unknown_shapes == ("m", "u")
    assert found.dynamic == []
    # nobody knows whether Magic multiplies; a search does not
    totals = found.summary()["totals"]
    assert [(totals[k], totals[f"known_{k}"], totals[f"unknown_{k}"]) for k in ("macs", "flops")] == [
        (None, 24, 1),
        (None, 48 + 8, 2),
    ]
    assert totals["unknown"] == 2


def test_open_dimensions_stay_open(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(third_party(), path)
    found = inspect(load_structure(path))
    assert found.dynamic == [{"dim": "batch", "input": "x", "axis": 0}]
    assert found.totals["unknown"] == 4
    assert np.isnan(found.totals["macs"])
    summary = found.summary()
    assert summary["totals"]["macs"] is None
    assert summary["inputs"] == [{"name": "x", "dtype": "float", "shape": ["batch", 3]}]
    assert summary["totals"]["parameters"] == 12
    with pytest.raises(UnknownNameError, match="did you mean 'batch'"):
        load_structure(path, {"bach": 2})


def test_weights_need_not_be_there(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    made = cnn().model
    onnx.save(made, path, save_as_external_data=True, location="net.weights", size_threshold=100)
    (tmp_path / "net.weights").unlink()
    found = inspect(load_structure(path))
    assert found.totals == inspect(cnn()).totals
    assert found.summary()["not_understood"]["unknown_costs"] == []
    with pytest.raises(GraphError):
        from fathom_onnx.graph import load

        load(path)


def test_a_graph_of_declared_weights_only() -> None:
    found = inspect(resnet50())
    assert found.totals["parameters"] == 25_557_032
    assert found.totals["macs"] == 4_089_184_256
    assert found.memory.parameters_bytes == 4 * (25_557_032 + 2 * 26560)


@pytest.mark.parametrize(
    ("node", "weights", "expected"),
    [
        # running statistics, scales and whole numbers are no parameters
        (op("BatchNormalization", "x a b c d", "y"), {"a": 4, "b": 4, "c": 4, "d": 4}, 8),
        (op("MatMul", "x a", "y"), {"a": (4, 5)}, 20),
        (op("Reshape", "x a", "y"), {"a": np.array([2, 2])}, 0),
        (op("Mul", "x a", "y"), {"a": np.float32(2)}, 0),
        (op("DequantizeLinear", "a b", "y"), {"a": np.ones((4, 5), np.int8), "b": np.ones(5, np.float32)}, 20),
        (op("Gather", "a x", "y"), {"a": (10, 3)}, 30),
        # the initial state is none either
        (
            helper.make_node("GRU", ["x", "a", "b", "", "", "c"], ["y"]),
            {"a": (1, 6, 2), "b": (1, 6, 2), "c": (1, 4, 2)},
            24,
        ),
    ],
)
def test_what_a_parameter_is(node: onnx.NodeProto, weights: dict[str, object], expected: int) -> None:
    values = {n: np.ones(v, np.float32) if isinstance(v, (int, tuple)) else v for n, v in weights.items()}
    kind = INT64 if node.op_type == "Gather" else FLOAT
    made = model([node], {"x": (kind, (2, 4, 2, 2))}, {"y": (FLOAT, None)}, values, infer=False)
    assert sum(parameters_by_node(Graph(made, "one")).values()) == expected


def test_packed_weights_count_as_weights() -> None:
    node = helper.make_node("MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", N=7, K=30, bits=4)
    made = model([node], {"x": (FLOAT, (2, 30))}, {"y": (FLOAT, (2, 7))}, {"s": np.ones(7, np.float32)}, infer=False)
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((7, 1, 16), np.uint8), "b"))
    assert parameters_by_node(Graph(made, "packed")) == {0: 210}


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6))
def test_a_weight_counts_once_with_its_first_user(uses: list[str]) -> None:
    nodes = [op("Mul", f"t{i} {w}", f"t{i + 1}") for i, w in enumerate(uses)]
    weights = {n: np.ones(size, np.float32) for n, size in (("a", 3), ("b", 3), ("c", 3))}
    made = model(nodes, {"t0": (FLOAT, (3,))}, {f"t{len(uses)}": (FLOAT, (3,))}, weights)
    found = parameters_by_node(Graph(made, "shared"))
    assert sum(found.values()) == sum(weights[w].size for w in set(uses))
    assert set(found) == {uses.index(w) for w in set(uses)}
    assert max(found) < len(numbered(made.graph))


def test_the_command_prints_all_sections(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(third_party(), path)
    code, out, _ = run(str(path), "--dim", "batch=2")
    assert code == 0
    for text in ("opset ai.onnx 18, their.own 1", "By class", "By layer", "Memory", "their.own::Magic", "at least"):
        assert text in out
    code, out, _ = run(str(path))
    assert code == 0
    assert "--dim batch=N" in out


def test_the_command_prints_no_zero_for_what_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    onnx.save(third_party(), path)
    out = run(str(path), "--dim", "batch=2")[1]
    assert ">= 24 MACs (1 node unknown), >= 56 FLOPs (2 nodes unknown)" in out
    assert "unknown MACs (2 nodes unknown), unknown FLOPs (4 nodes unknown)" in run(str(path))[1]
    rows = {line.split()[0]: line.split()[1:] for line in run(str(path), "--by", "op")[1].splitlines() if line}
    assert rows["MatMul"][1:4] == ["unknown", "unknown", "unknown"]
    assert rows["Relu"][1:4] == ["0", "unknown", "unknown"]


def test_a_choice_of_two_ways_to_the_same_costs_as_much_as_either() -> None:
    """The branches of the If in the loop make 64 FLOPs each: the step has 5 x (1024 + 64 + 1 + 64) and an addition."""
    totals = inspect(control_flow()).summary()["totals"]
    assert (totals["macs"], totals["unknown_macs"]) == (5 * 512, 0)
    assert (totals["flops"], totals["known_flops"], totals["unknown_flops"]) == (
        5 * (1024 + 64 + 1 + 64) + 64,
        5 * (1024 + 64 + 1) + 64,
        2,
    )


def test_multiply_accumulates_by_definition_stand_beside_those_by_shape(tmp_path: Path) -> None:
    path = tmp_path / "cnn.onnx"
    model = cnn().model
    plain = json.loads(saved_and_told(model, path, "--json"))
    assert plain["totals"]["macs_by_definition"] == plain["totals"]["macs"]
    assert "by definition" not in saved_and_told(model, path)
    node = next(n for n in model.graph.node if n.name == "forward/c1/Conv2D")
    node.metadata_props.add(key="fathom_onnx.macs_by_definition", value="1000")
    written = 2 * 12 * 256 * 27
    told = json.loads(saved_and_told(model, path, "--json"))
    assert told["totals"]["macs"] == plain["totals"]["macs"]
    assert told["totals"]["macs_by_definition"] == plain["totals"]["macs"] - written + 1000
    layers = {row["name"]: (row["macs"], row["macs_by_definition"]) for row in told["by_layer"]}
    assert layers["c1"] == (written, 1000)
    assert layers["c2"][0] == layers["c2"][1] > 0
    assert "by definition), " in saved_and_told(model, path)
    rows = {line.split()[0]: line.split() for line in saved_and_told(model, path, "--by", "layer").splitlines() if line}
    assert rows["c1"][:6] == ["c1", "1", "165.89", "k", "1.00", "k"]
    node.metadata_props[0].value = "a few"  # what cannot be read states nothing
    assert json.loads(saved_and_told(model, path, "--json")) | {"graph_sha256": ""} == plain | {"graph_sha256": ""}


def saved_and_told(model: onnx.ModelProto, path: Path, *arguments: str) -> str:
    onnx.save(model, path)
    code, out, _ = run(str(path), *arguments)
    assert code == 0
    return out


def test_the_command_tells_bodies_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "loop.onnx"
    onnx.save(control_flow().model, path)
    code, out, _ = run(str(path))
    assert code == 0
    assert "the loop runs" not in out
    assert "which branch runs is data" in out
    code, out, _ = run(str(path), "--json")
    bodies = {(b["node"], b["body"]): b for b in json.loads(out)["control_flow"]}
    assert bodies["/loop/Loop", "body"]["executions"] == 5
    assert (
        bodies["/loop/if/If" if ("/loop/if/If", "then_branch") in bodies else "/loop/If", "then_branch"]["nodes"] == 1
    )


def test_the_command_as_json(tmp_path: Path) -> None:
    path = tmp_path / "cnn.onnx"
    onnx.save(cnn().model, path)
    code, out, _ = run(str(path), "--json")
    told = json.loads(out)
    assert code == 0
    assert told["schema"] == "fathom-onnx/inspect/1"
    assert set(told) >= {"by_phase", "by_class", "by_op", "by_layer"}
    assert "by_node" not in told
    assert told["totals"]["macs"] == 2 * 12 * 256 * 27 + 2 * 12 * 256 * 108 + 2 * 12 * 64 * 108 + 240
    told = json.loads(run(str(path), "--json", "--by", "node")[1])
    assert [row["name"] for row in told["by_node"]][:2] == ["forward/c1/Conv2D", "forward/n1/BatchNorm"]
    assert "by_op" not in told


@pytest.mark.parametrize("by", list(GROUPS))
def test_the_command_by_one_group(tmp_path: Path, by: str) -> None:
    path = tmp_path / "cnn.onnx"
    onnx.save(cnn().model, path)
    code, out, _ = run(str(path), "--by", by)
    assert code == 0
    assert out.strip().startswith(f"By {by}")
    assert "Memory" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nowhere.onnx"], 3, "no file 'nowhere.onnx'"),
        (["{text}"], 3, "is not an ONNX file"),
        (["{net}", "--dim", "batch=-1"], 2, "cannot be '-1'"),
        (["{net}", "--dim", "batch"], 2, "is not NAME=N"),
        (["{net}", "--dim", "batch=2"], 2, "unknown dynamic dimension 'batch'"),
    ],
)
def test_bad_input_is_told(tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    onnx.save(cnn().model, tmp_path / "net.onnx")
    names = {"text": str(tmp_path / "text.onnx"), "net": str(tmp_path / "net.onnx")}
    found, out, err = run(*(a.format(**names) for a in arguments))
    assert (found, out) == (code, "")
    assert text in err


def test_a_sequence_that_is_fed_has_no_size() -> None:
    """A sequence of unknown length is of unknown size, not of none."""
    tensors = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [3]))
    nodes = [op("SequenceAt", "s one", "a", "/a/at"), op("SequenceLength", "s", "n", "/a/n")]
    made = model(nodes, {}, {"a": (FLOAT, (3,)), "n": (INT64, ())}, {"one": np.int64(1)})
    made.graph.input.append(helper.make_value_info("s", tensors))
    found = inspect(from_model(made, "sequence"))
    assert list(found.nodes["flops"]) == [0, 0]
    assert found.memory.unknown == ("s",)
    # of the sequence one tensor is read: 12 bytes in, 12 out, and the position
    assert list(found.nodes["bytes_read"]) == [12 + 8, 0]
