"""Loading graphs that others made: out of order, with shapes that are not theirs, with weights in other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fathom_onnx.errors import GraphError
from fathom_onnx.graph import from_model, load, load_exported, load_structure
from fathom_onnx.graph.bodies import all_nodes, bodies
from support.graphs.small_models import BOOL, FLOAT, INT64, model, op
from support.paths import ROOT


def two_layers(**declared: list[int | str]) -> onnx.ModelProto:
    """x [8, 64] through 64 -> 32 -> 16; ``declared`` are the shapes that the file declares."""
    made = model(
        [op("MatMul", "x w", "m"), op("Relu", "m", "r"), op("MatMul", "r v", "y")],
        {"x": (FLOAT, [8, 64])},
        {"y": (FLOAT, declared.pop("y", [8, 16]))},  # type: ignore[dict-item]
        {"w": np.ones((64, 32), np.float32), "v": np.ones((32, 16), np.float32)},
        infer=False,
    )
    made.graph.value_info.extend(helper.make_tensor_value_info(n, FLOAT, s) for n, s in declared.items())
    return made


@pytest.mark.parametrize(
    "declared",
    [
        {"m": [1, 32], "r": [1, 32], "y": ["N", 16]},
        {"y": [1, 16]},
        {"y": [16]},
        {"m": ["batch", 32], "r": [7, 32]},
    ],
)
def test_shapes_that_the_graph_does_not_have_are_replaced(declared: dict[str, list[int | str]]) -> None:
    graph = from_model(two_layers(**declared), "stale")
    assert {name: graph.tensors[name].shape for name in "mry"} == {"m": (8, 32), "r": (8, 32), "y": (8, 16)}
    assert graph.outputs[0].shape == (8, 16)


def data_dependent(declared: list[int]) -> onnx.ModelProto:
    """Rows of x that are above zero, as many as there are; ``declared`` is what the file says of them."""
    made = model(
        [
            op("Greater", "x zero", "above"),
            op("Compress", "x above", "rows", axis=0),
            op("MatMul", "rows w", "y"),
            op("Relu", "x", "z"),
        ],
        {"x": (FLOAT, [4])},
        {"y": (FLOAT, []), "z": (FLOAT, [4])},
        {"zero": np.float32(0), "w": np.ones(3, np.float32)},
        infer=False,
    )
    made.graph.value_info.append(helper.make_tensor_value_info("rows", FLOAT, declared))
    return made


def test_a_declared_shape_is_kept_where_nothing_infers_one_and_nothing_contradicts() -> None:
    honest = data_dependent([3])
    assert from_model(honest, "m").tensors["rows"].shape == (3,)
    honest.graph.value_info.append(helper.make_tensor_value_info("above", BOOL, [9]))  # this one is wrong
    assert from_model(honest, "m").tensors["rows"].shape is None


def test_shapes_that_a_loop_declares_for_its_state_are_no_better() -> None:
    def loop(rows: int) -> onnx.ModelProto:
        body = helper.make_graph(
            [op("MatMul", "s w", "t"), op("Identity", "c", "d")],
            "body",
            [
                helper.make_tensor_value_info("i", INT64, []),
                helper.make_tensor_value_info("c", BOOL, []),
                helper.make_tensor_value_info("s", FLOAT, [rows, 3]),
            ],
            [helper.make_tensor_value_info("d", BOOL, []), helper.make_tensor_value_info("t", FLOAT, [rows, 3])],
        )
        return model(
            [op("Loop", "trips true x", "y", body=body)],
            {"x": (FLOAT, [8, 3])},
            {"y": (FLOAT, [8, 3])},
            {"trips": np.int64(2), "true": np.bool_(True), "w": np.eye(3, dtype=np.float32)},
            infer=False,
        )

    def inside(made: onnx.ModelProto) -> list[list[int]]:
        loaded = from_model(made, "m").model.graph.node[0].attribute[0].g
        types = [v.type.tensor_type for v in loaded.output if v.name == "t"]
        return [[d.dim_value for d in t.shape.dim] for t in types if t.HasField("shape")]

    assert inside(loop(8)) == [[8, 3]]
    assert inside(loop(1)) in ([], [[8, 3]])


def test_shapes_go_on_past_operators_of_onnxruntime() -> None:
    made = model(
        [
            helper.make_node("SkipLayerNormalization", ["x", "x", "g"], ["s"], domain="com.microsoft"),
            op("MatMul", "s w", "y"),
            op("Transpose", "y", "z"),
        ],
        {"x": (FLOAT, [2, 7, 64])},
        {"z": (FLOAT, None)},
        {"g": np.ones(64, np.float32), "w": np.ones((64, 10), np.float32)},
        infer=False,
    )
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    graph = from_model(made, "m")
    assert {name: graph.tensors[name].shape for name in "syz"} == {"s": (2, 7, 64), "y": (2, 7, 10), "z": (10, 7, 2)}


def test_shapes_go_on_past_operators_that_only_onnxruntime_has_in_the_default_domain() -> None:
    made = model(
        [op("SimplifiedLayerNormalization", "x g", "s", axis=-1), op("MatMul", "s w", "y")],
        {"x": (FLOAT, [2, 64])},
        {"y": (FLOAT, None)},
        {"g": np.ones(64, np.float32), "w": np.ones((64, 10), np.float32)},
        infer=False,
    )
    assert from_model(made, "m").tensors["y"].shape == (2, 10)


def test_an_operator_that_nobody_has_leaves_the_rest_known(tmp_path: Path) -> None:
    made = model(
        [op("Relu", "x", "r"), helper.make_node("Warp", ["r"], ["d"], domain="acme.ops"), op("Relu", "d", "y")],
        {"x": (FLOAT, [2, 3])},
        {"y": (FLOAT, None)},
        infer=False,
    )
    made.opset_import.append(helper.make_opsetid("acme.ops", 1))
    onnx.save(made, tmp_path / "m.onnx")
    for read in (load, load_structure):
        tensors = read(tmp_path / "m.onnx").tensors
        assert tensors["r"].shape == (2, 3)
        assert "d" not in tensors or tensors["d"].shape is None


def test_nodes_out_of_order_are_sorted_and_the_others_keep_their_places() -> None:
    body = helper.make_graph(
        [op("Add", "h one", "t", "second"), op("Mul", "x two", "h", "first")],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, [2])],
    )
    other = helper.make_graph(
        [op("Relu", "z", "e", "else")], "else", [], [helper.make_tensor_value_info("e", FLOAT, [2])]
    )
    made = model(
        [
            op("If", "c", "y", "if", then_branch=body, else_branch=other),
            op("Neg", "x", "z", "before"),
            op("Exp", "y", "w", "after"),
        ],
        {"x": (FLOAT, [2]), "c": (BOOL, [])},
        {"w": (FLOAT, [2])},
        {"one": np.float32(1), "two": np.float32(2)},
        infer=False,
    )
    graph = from_model(made, "m").model.graph
    assert [node.name for node in graph.node] == ["before", "if", "after"]
    assert [node.name for node in dict(bodies(graph.node[1]))["then_branch"].node] == ["first", "second"]
    assert [node.name for node in made.graph.node] == ["if", "before", "after"]  # the caller's own model is as it was
    with pytest.raises(GraphError, match="not a valid ONNX graph"):
        from_model(
            model([op("Add", "x b", "a"), op("Relu", "a", "b")], {"x": (FLOAT, [2])}, {"a": (FLOAT, [2])}, infer=False),
            "m",
        )


def external(folder: Path, values: dict[str, np.ndarray]) -> Path:
    """A graph that reshapes x and multiplies it, all its initializers in one file beside it."""
    made = model(
        [op("Reshape", "x shape", "r"), op("MatMul", "r w", "y")],
        {"x": (FLOAT, [4, 6])},
        {"y": (FLOAT, None)},
        values,
        infer=False,
    )
    path = folder / "m.onnx"
    onnx.save(made, path, save_as_external_data=True, location="m.data", size_threshold=0, convert_attribute=False)
    return path


def test_external_weights_stay_in_their_file_and_small_constants_are_read(tmp_path: Path) -> None:
    path = external(tmp_path, {"shape": np.array([3, 8]), "w": np.ones((8, 100), np.float32)})
    graph = load(path)
    assert graph.tensors["y"].shape == (3, 100)
    assert graph.weights_folder == tmp_path.resolve()
    assert not graph.initializers["w"].raw_data
    assert numpy_helper.to_array(graph.initializers["shape"]).tolist() == [3, 8]
    assert from_model(two_layers(), "m").weights_folder is None


def test_a_missing_or_short_file_of_weights_is_named(tmp_path: Path) -> None:
    path = external(tmp_path, {"shape": np.array([3, 8]), "w": np.ones((8, 100), np.float32)})
    data = tmp_path / "m.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-400])
    with pytest.raises(GraphError, match=r"m\.data' ends \d+ bytes before the end of weight 'w'"):
        load(path)
    data.unlink()
    with pytest.raises(GraphError, match=r"the weights of .* are in .*m\.data', which cannot be read"):
        load(path)
    assert load_structure(path).initializers["w"].dims == [8, 100]


def test_the_length_of_an_external_weight_may_follow_from_its_shape(tmp_path: Path) -> None:
    made = model([op("Reshape", "x to", "y")], {"x": (FLOAT, [4, 6])}, {"y": (FLOAT, None)}, infer=False)
    to = onnx.TensorProto(name="to", dims=[2], data_type=INT64, data_location=onnx.TensorProto.EXTERNAL)
    to.external_data.add(key="location", value="to.bin")
    made.graph.initializer.append(to)
    onnx.save(made, tmp_path / "m.onnx")
    (tmp_path / "to.bin").write_bytes(np.array([3, 8]).tobytes())
    assert load(tmp_path / "m.onnx").tensors["y"].shape == (3, 8)
    (tmp_path / "to.bin").write_bytes(np.array([3]).tobytes())
    with pytest.raises(GraphError, match=r"to\.bin' ends 8 bytes before the end of weight 'to'"):
        load(tmp_path / "m.onnx")


def test_a_type_without_a_shape_is_no_fault() -> None:
    empty = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    made = model(
        [op("SequenceEmpty", "", "s"), op("SequenceInsert", "s x", "t"), op("ConcatFromSequence", "t", "y", axis=0)],
        {"x": (FLOAT, [2, 3])},
        {"y": (FLOAT, None)},
        infer=False,
    )
    made.graph.output.append(onnx.ValueInfoProto(name="t", type=empty))
    assert from_model(made, "m").outputs[1].shape is None


def test_a_map_over_a_sequence_becomes_the_loop_that_it_stands_for() -> None:
    body = helper.make_graph(
        [op("MatMul", "e w", "m", "/body/MatMul"), op("Relu", "m", "f")],
        "body",
        [helper.make_tensor_value_info("e", FLOAT, [1, 3])],
        [helper.make_tensor_value_info("f", FLOAT, [1, 2])],
    )
    made = model(
        [
            op("SplitToSequence", "x one", "s", "split", axis=0),
            op("SequenceMap", "s", "t", "map", body=body),
            op("SequenceMap", "t", "u", "again", body=relu_each()),
            op("ConcatFromSequence", "u", "y", "join", axis=0),
        ],
        {"x": (FLOAT, [4, 3])},
        {"y": (FLOAT, None)},
        {"one": np.int64(1), "w": np.ones((3, 2), np.float32)},
        infer=False,
    )
    graph = from_model(made, "m")
    top = [node.name for node in graph.model.graph.node]
    assert [node.name for node in graph.model.graph.node if node.op_type == "Loop"] == ["map", "again"]
    assert len(set(top)) == len(top)
    names = [node.name for node in all_nodes(graph.model.graph.node)]
    assert "/body/MatMul" in names
    assert {name.split("/")[0] for name in names} == {"split", "map", "", "again", "join"}


def test_functions_take_the_versions_of_the_model() -> None:
    twice = helper.make_function("own", "Twice", ["a"], ["b"], [op("Add", "a a", "b")], [helper.make_opsetid("", 20)])
    made = model(
        [helper.make_node("Twice", ["x"], ["y"], "call", domain="own")],
        {"x": (FLOAT, [2])},
        {"y": (FLOAT, [2])},
        infer=False,
    )
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.functions.append(twice)
    assert [node.op_type for node in from_model(made, "m").model.graph.node] == ["Add"]


def sparse(name: str, rows: int, columns: int) -> onnx.SparseTensorProto:
    """A sparse weight with one element that is not zero."""
    values = numpy_helper.from_array(np.ones(1, np.float32), name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([5])), [rows, columns])


def test_sparse_weights_have_shapes_at_the_top_and_in_bodies() -> None:
    branches = []
    for name in ("t", "e"):
        body = helper.make_graph(
            [op("MatMul", "m v", name)], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )
        body.sparse_initializer.append(sparse("v", 5, 7))
        branches.append(body)
    made = model(
        [op("MatMul", "x w", "m"), op("If", "c", "y", then_branch=branches[0], else_branch=branches[1])],
        {"x": (FLOAT, [2, 3]), "c": (BOOL, [])},
        {"y": (FLOAT, None)},
        infer=False,
    )
    made.graph.sparse_initializer.append(sparse("w", 3, 5))
    graph = from_model(made, "m")
    assert graph.tensors["m"].shape == (2, 5)
    assert graph.tensors["y"].shape == (2, 7)


def relu_each() -> onnx.GraphProto:
    """The body of a map that applies Relu."""
    return helper.make_graph(
        [op("Relu", "g", "h")],
        "relu",
        [helper.make_tensor_value_info("g", FLOAT, [1, 2])],
        [helper.make_tensor_value_info("h", FLOAT, [1, 2])],
    )


@pytest.mark.parametrize(
    "name",
    ["memnet-train", "autoenc-train", "speech", "tensorflow/memnet-train", "tensorflow/deepq-train", "jax/seq2seq"],
)
def test_an_exported_file_holds_what_is_inferred_of_any_other(name: str) -> None:
    path = ROOT / "graphs" / f"{name}.onnx"
    checked, trusted = load(path), load_exported(path)
    assert trusted.tensors == checked.tensors
    assert trusted.model.graph.node == checked.model.graph.node
    assert trusted.metadata == checked.metadata
    assert (trusted.name, trusted.sha256) == (checked.name, checked.sha256)


def test_the_file_of_another_producer_is_checked(tmp_path: Path) -> None:
    made = model([op("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [3])}, infer=False)
    path = tmp_path / "m.onnx"
    onnx.save(made, path)
    assert load_exported(path).tensors["y"].shape == (2,)
