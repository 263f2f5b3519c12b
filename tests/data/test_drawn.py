"""Inputs drawn by how a graph uses them: one tiny graph a kind of use, run by onnxruntime for several seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.data import run_batches
from fathom_onnx.data.drawn.batches import drawn_inputs
from fathom_onnx.errors import DataError, StepError
from fathom_onnx.graph import from_model
from fathom_onnx.profiling import profile
from support.graphs.small_models import BOOL, FLOAT, INT64, op

INT32, STRING, UINT8 = TensorProto.INT32, TensorProto.STRING, TensorProto.UINT8

Values = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, Sequence[int | str | None] | None]]


def built(
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    constants: Values | None = None,
    outputs: Shapes | None = None,
    opset: int = 18,
    **rest: Any,
) -> onnx.ModelProto:
    """A model whose outputs, ``y`` if nothing else is said, have no declared shape."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in (outputs or {"y": (FLOAT, None)}).items()],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *domains], ir_version=10, **rest)


def drawn(made: onnx.ModelProto, seeds: int = 4) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Two batches for each of several seeds, all of which onnxruntime runs, and how they were drawn."""
    graph = from_model(made, "test")
    found = drawn_inputs(graph)
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    values: dict[str, list[Any]] = {}
    for seed in range(seeds):
        for batch in itertools.islice(found.batches(seed), 2):
            session.run(None, batch)
            for name, value in batch.items():
                values.setdefault(name, []).append(value)
    return values, found.said()


def table(rows: int, columns: int = 3) -> np.ndarray:
    return np.ones((rows, columns), np.float32)


def all_within(values: Sequence[np.ndarray], low: int, high: int) -> None:
    joined = np.concatenate([value.ravel() for value in values])
    assert joined.min() >= low
    assert joined.max() <= high
    # wide enough to be drawn from all of it, and not from its first elements
    if joined.size >= 40 and high - low < 1000:
        assert joined.max() > low + 0.6 * (high - low)
        assert joined.min() < low + 0.4 * (high - low)


def constant_in_all(values: Sequence[np.ndarray], expected: Any) -> None:
    for value in values:
        np.testing.assert_array_equal(value, expected)


# indices


GATHERS: dict[str, tuple[list[onnx.NodeProto], Values, int]] = {
    "rows": ([op("Gather", "t i", "y", "emb")], {"t": table(50)}, 49),
    "columns": ([op("Gather", "t i", "y", "emb", axis=1)], {"t": table(3, 50)}, 49),
    "elements": ([op("GatherElements", "t i", "y", "emb", axis=0)], {"t": table(50, 4)}, 49),
    "through casts and shapes": (
        [
            op("Cast", "i", "a", "cast", to=INT32),
            op("Reshape", "a flat", "b", "flat"),
            op("Unsqueeze", "b zero", "c", "unsqueeze"),
            op("Identity", "c", "d", "identity"),
            op("Gather", "t d", "y", "emb"),
        ],
        {"t": table(50), "flat": np.array([-1]), "zero": np.array([0])},
        49,
    ),
    "with an offset": (
        [op("Add", "i two", "j", "add"), op("Gather", "t j", "y", "emb")],
        {"t": table(50), "two": np.int64(2)},
        47,
    ),
    "with offsets of fields": (
        [op("Add", "i fields", "j", "add"), op("Gather", "t j", "y", "emb")],
        {"t": table(50), "fields": np.array([0, 10, 20, 30])},
        19,
    ),
    "with strides": (
        [op("Mul", "i four", "j", "mul"), op("Gather", "t j", "y", "emb")],
        {"t": table(50), "four": np.int64(4)},
        12,
    ),
    "the smaller of two tables": (
        [op("Gather", "t i", "a", "one"), op("Gather", "u i", "b", "two"), op("Add", "a b", "y", "add")],
        {"t": table(50), "u": table(7)},
        6,
    ),
    "joined with constants": (
        [op("Concat", "start i", "j", "concat", axis=1), op("Gather", "t j", "y", "emb")],
        {"t": table(50), "start": np.zeros((2, 1), np.int64)},
        49,
    ),
    "one-hot": (
        [op("OneHot", "i depth pair", "y", "hot")],
        {"depth": np.int64(50), "pair": np.array([0, 1], np.float32)},
        49,
    ),
}


@pytest.mark.parametrize("name", GATHERS)
def test_indices_are_within_the_axis(name: str) -> None:
    nodes, constants, high = GATHERS[name]
    values, said = drawn(built(nodes, {"i": (INT64, [2, 4])}, constants))
    all_within(values["i"], 0, high)
    assert said["i"].startswith(f"drawn within 0..{high} (")


@given(rows=st.integers(1, 70), columns=st.integers(1, 70), axis=st.integers(-2, 1), shift=st.integers(0, 9))
@settings(max_examples=25)
def test_any_axis_of_any_size_is_indexed_within(rows: int, columns: int, axis: int, shift: int) -> None:
    size = (rows, columns)[axis] + shift
    shape = [rows, columns]
    shape[axis] = size
    nodes = [op("Add", "i shift", "j", "add"), op("Gather", "t j", "y", "emb", axis=axis)]
    constants = {"t": np.ones(shape, np.float32), "shift": np.int64(shift)}
    values, _ = drawn(built(nodes, {"i": (INT64, [9])}, constants), seeds=2)
    all_within(values["i"], 0, size - shift - 1)


def test_an_index_that_may_be_negative_is_an_index() -> None:
    """As PyTorch writes it: where(i < 0, i + n, i)."""
    nodes = [
        op("Less", "i zero", "neg", "less"),
        op("Add", "i n", "wrapped", "add"),
        op("Where", "neg wrapped i", "j", "where"),
        op("Gather", "t j", "y", "emb"),
    ]
    constants = {"zero": np.int64(0), "n": np.int64(9), "t": table(9)}
    values, _ = drawn(built(nodes, {"i": (INT64, [20])}, constants))
    all_within(values["i"], 0, 8)


def test_two_indices_that_are_added_stay_within_together() -> None:
    nodes = [op("Add", "i j", "k", "add"), op("Gather", "t k", "y", "emb")]
    values, _ = drawn(built(nodes, {"i": (INT64, [9]), "j": (INT64, [9])}, {"t": table(21)}))
    all_within(values["i"], 0, 10)
    all_within(values["j"], 0, 10)


def test_numbers_that_come_as_floating_point_are_indices_too() -> None:
    nodes = [op("Cast", "i", "j", "cast", to=INT64), op("Gather", "t j", "y", "emb")]
    values, _ = drawn(built(nodes, {"i": (FLOAT, [20])}, {"t": table(50)}))
    assert all(value.dtype == np.float32 and (value == value.round()).all() for value in values["i"])
    all_within(values["i"], 0, 49)


def test_rows_of_indices_have_a_range_a_column() -> None:
    nodes = [op("GatherND", "t i", "a", "read"), op("ScatterND", "t i a", "y", "write")]
    values, said = drawn(built(nodes, {"i": (INT64, [30, 2])}, {"t": table(9, 40)}))
    all_within([value[:, 0] for value in values["i"]], 0, 8)
    all_within([value[:, 1] for value in values["i"]], 0, 39)
    assert "within 0..8, 0..39 (" in said["i"]


def test_elements_are_scattered_within_the_axis() -> None:
    nodes = [op("ScatterElements", "x i u", "y", "write", axis=1)]
    values, _ = drawn(built(nodes, {"x": (FLOAT, [2, 30]), "i": (INT64, [2, 5])}, {"u": np.ones((2, 5), np.float32)}))
    all_within(values["i"], 0, 29)


def test_classes_of_a_loss_are_those_that_it_has() -> None:
    nodes = [op("SoftmaxCrossEntropyLoss", "x i", "y", "loss")]
    values, _ = drawn(built(nodes, {"x": (FLOAT, [8, 10]), "i": (INT64, [8])}))
    all_within(values["i"], 0, 9)


def test_words_segments_and_masks_of_a_fused_embedding() -> None:
    node = op("EmbedLayerNormalization", "i s w p q g b m", "y idx", "emb", epsilon=1e-5)
    node.domain = "com.microsoft"
    ones = np.ones(4, np.float32)
    constants = {"w": table(30, 4), "p": table(8, 4), "q": table(2, 4), "g": ones, "b": ones}
    kinds = {"i": (INT32, [2, 8]), "s": (INT32, [2, 8]), "m": (INT32, [2, 8])}
    values, _ = drawn(built([node], kinds, constants, {"y": (FLOAT, None), "idx": (INT32, None)}))
    all_within(values["i"], 0, 29)
    all_within(values["s"], 0, 1)
    constant_in_all(values["m"], 1)


def test_an_index_inside_bodies_and_functions() -> None:
    """Captured by a branch, handed to a scan one element at a time, and used in a function."""
    then = helper.make_graph(
        [op("Gather", "t i", "a", "then")], "t", [], [helper.make_tensor_value_info("a", FLOAT, None)]
    )
    other = helper.make_graph(
        [op("Identity", "z", "b", "e")], "e", [], [helper.make_tensor_value_info("b", FLOAT, None)]
    )
    step = helper.make_graph(
        [op("Gather", "u e", "r", "row")],
        "step",
        [helper.make_tensor_value_info("e", INT64, [])],
        [helper.make_tensor_value_info("r", FLOAT, [3])],
    )
    function = helper.make_function(
        "local",
        "Embed",
        ["table", "ids"],
        ["rows"],
        [op("Gather", "table ids", "rows", "g")],
        [helper.make_opsetid("", 18)],
    )
    call = op("Embed", "v k", "y3", "call")
    call.domain = "local"
    nodes = [
        op("If", "c", "y", "if", then_branch=then, else_branch=other),
        op("Scan", "j", "y2", "scan", body=step, num_scan_inputs=1),
        call,
    ]
    kinds = {name: (INT64, [20]) for name in "ijk"}
    constants = {"t": table(9), "u": table(11), "v": table(13), "z": table(20), "c": np.array(True)}
    outputs = dict.fromkeys(("y", "y2", "y3"), (FLOAT, None))
    made = built(nodes, kinds, constants, outputs, functions=[function])
    made.opset_import.append(helper.make_opsetid("local", 1))
    values, _ = drawn(made)
    for name, high in (("i", 8), ("j", 10), ("k", 12)):
        all_within(values[name], 0, high)


def test_names_that_two_bodies_share_are_kept_apart() -> None:
    """The same name in two loops' bodies stands for different inputs."""

    def body(name: str) -> onnx.GraphProto:
        nodes = [op("Gather", f"{name} inner", "r", "row"), op("Identity", "c_in", "c_out", "go")]
        inputs = [("n", INT64, []), ("c_in", BOOL, []), ("inner", INT64, [4])]
        keep = [op("Identity", "inner", "kept", "keep")]
        outputs = [("c_out", BOOL, []), ("kept", INT64, [4]), ("r", FLOAT, [4, 3])]
        return helper.make_graph(
            nodes + keep,
            f"body-{name}",
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
        )

    nodes = [op("Loop", f"two go {n}", f"{n}k {n}y", f"loop{n}", body=body(t)) for n, t in (("i", "t"), ("j", "u"))]
    constants = {"t": table(9), "u": table(40), "two": np.int64(2), "go": np.array(True)}
    outputs = {"iy": (FLOAT, None), "jy": (FLOAT, None), "ik": (INT64, None), "jk": (INT64, None)}
    values, _ = drawn(built(nodes, {"i": (INT64, [4]), "j": (INT64, [4])}, constants, outputs), seeds=8)
    all_within(values["i"], 0, 8)
    all_within(values["j"], 0, 39)


def test_positions_and_text_types_are_known_by_name_only_among_indices() -> None:
    nodes = [
        op("Gather", "t position_ids", "a", "p"),
        op("Gather", "u token_type_ids", "b", "q"),
        op("Add", "a b", "y", "+"),
    ]
    kinds = {"position_ids": (INT64, [2, 6]), "token_type_ids": (INT64, [2, 6])}
    values, said = drawn(built(nodes, kinds, {"t": table(8), "u": table(2)}))
    constant_in_all(values["position_ids"], [[0, 1, 2, 3, 4, 5]] * 2)
    constant_in_all(values["token_type_ids"], 0)
    assert "by its name" in said["position_ids"]
    # a table too small for the order, and a name that the use contradicts
    nodes = [op("Gather", "t position_mask", "y", "p")]
    values, _ = drawn(built(nodes, {"position_mask": (INT64, [20])}, {"t": table(8)}))
    all_within(values["position_mask"], 0, 7)


# masks, conditions and lengths


def attention(mask: str) -> list[onnx.NodeProto]:
    return [op("Unsqueeze", "m one", "u", "unsqueeze"), *_ATTENTION[mask], op("Softmax", "s", "y", "softmax")]


_ATTENTION = {
    "multiplied": [op("Cast", "u", "f", "cast", to=FLOAT), op("Mul", "x f", "s", "mul")],
    "subtracted from one": [
        op("Cast", "u", "f", "cast", to=FLOAT),
        op("Sub", "unit f", "left", "sub"),
        op("Mul", "left far", "bias", "mul"),
        op("Add", "x bias", "s", "add"),
    ],
    "a truth value": [op("Cast", "u", "c", "cast", to=BOOL), op("Where", "c x far", "s", "where")],
    "compared with 0": [op("Equal", "u zero", "c", "equal"), op("Where", "c far x", "s", "where")],
    "above 0": [op("Greater", "u zero", "c", "greater"), op("Where", "c x far", "s", "where")],
    "expanded, and not": [
        op("Expand", "u size", "e", "expand"),
        op("Cast", "e", "c", "cast", to=BOOL),
        op("Not", "c", "n", "not"),
        op("Where", "n far x", "s", "where"),
    ],
}


@pytest.mark.parametrize("kind", _ATTENTION)
def test_masks_are_ones(kind: str) -> None:
    constants = {
        "one": np.array([1]),
        "unit": np.float32(1),
        "far": np.float32(-1e9),
        "zero": np.int64(0),
        "size": np.array([2, 5, 5]),
    }
    values, said = drawn(built(attention(kind), {"x": (FLOAT, [2, 5, 5]), "m": (INT64, [2, 5])}, constants))
    constant_in_all(values["m"], 1)
    assert said["m"].startswith("drawn ones (a mask, by ")


def test_a_mask_whose_sums_are_positions_stays_one() -> None:
    """As OPT does: positions are the running sum of the mask, less one, plus two."""
    nodes = [
        op("CumSum", "m axis", "sums", "cumsum"),
        op("Sub", "sums unit", "zero_based", "sub"),
        op("Add", "zero_based two", "positions", "add"),
        op("Gather", "t positions", "a", "positions"),
        op("Cast", "m", "f", "cast", to=FLOAT),
        op("Unsqueeze", "f last", "u", "unsqueeze"),
        op("Mul", "a u", "y", "mul"),
    ]
    constants = {"axis": np.int64(1), "unit": np.int64(1), "two": np.int64(2), "t": table(8), "last": np.array([2])}
    values, _ = drawn(built(nodes, {"m": (INT64, [2, 6])}, constants))
    constant_in_all(values["m"], 1)


def test_ids_that_are_compared_with_padding_are_ids() -> None:
    nodes = [
        op("Gather", "t ids", "a", "emb"),
        op("Equal", "ids pad", "padding", "equal"),
        op("Unsqueeze", "padding last", "u", "unsqueeze"),
        op("Where", "u zero a", "y", "where"),
    ]
    constants = {"t": table(30), "pad": np.int64(1), "last": np.array([1]), "zero": np.float32(0)}
    values, _ = drawn(built(nodes, {"ids": (INT64, [20])}, constants))
    all_within(values["ids"], 0, 29)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("equal", [False, True])
def test_lengths_are_within_the_axis(inverted: bool, equal: bool) -> None:
    """i < length, or length > i; with <= the last position of a length is one more."""
    name = {
        (False, False): "Less",
        (False, True): "LessOrEqual",
        (True, False): "Greater",
        (True, True): "GreaterOrEqual",
    }
    operands = "u r" if inverted else "r u"
    nodes = [
        op("Range", "zero n unit", "r", "range"),
        op("Unsqueeze", "lengths last", "u", "unsqueeze"),
        op(name[inverted, equal], operands, "c", "compare"),
        op("Cast", "c", "y", "cast", to=FLOAT),
    ]
    constants = {"zero": np.int64(0), "n": np.int64(50), "unit": np.int64(1), "last": np.array([1])}
    values, said = drawn(built(nodes, {"lengths": (INT64, [8])}, constants))
    all_within(values["lengths"], 1, 49 if equal else 50)
    assert "lengths for compare" in said["lengths"]


def test_lengths_of_a_recurrent_layer_and_of_a_reversal() -> None:
    nodes = [op("GRU", "x w r  lengths".replace("  ", " - "), "a", "gru", hidden_size=2)]
    nodes[0].input[3] = ""
    nodes.append(op("ReverseSequence", "x other", "b", "reverse", time_axis=0, batch_axis=1))
    kinds = {"x": (FLOAT, [9, 4, 3]), "lengths": (INT32, [4]), "other": (INT64, [4])}
    constants = {"w": np.ones((1, 6, 3), np.float32), "r": np.ones((1, 6, 2), np.float32)}
    values, _ = drawn(built(nodes, kinds, constants, {"a": (FLOAT, None), "b": (FLOAT, None)}))
    all_within(values["lengths"], 1, 9)
    all_within(values["other"], 1, 9)


def test_what_decides_is_said_to_have_another_side() -> None:
    def branch(name: str, kind: str) -> onnx.GraphProto:
        return helper.make_graph(
            [op(kind, "x", name, name)], name, [], [helper.make_tensor_value_info(name, FLOAT, [2])]
        )

    nodes = [
        op("If", "go", "a", "if", then_branch=branch("t", "Exp"), else_branch=branch("e", "Neg")),
        op("Dropout", "x half training", "b", "dropout"),
    ]
    kinds = {"x": (FLOAT, [2]), "go": (BOOL, []), "training": (BOOL, [])}
    values, said = drawn(built(nodes, kinds, {"half": np.float32(0.5)}, {"a": (FLOAT, None), "b": (FLOAT, None)}))
    constant_in_all(values["go"], True)
    constant_in_all(values["training"], False)
    assert said["go"] == "drawn True (the branch of if; --inputs gives the other)"
    assert said["training"] == "drawn False (training of dropout; --inputs gives the other)"


@pytest.mark.parametrize("shape", [[], [1]])
def test_a_number_that_the_graph_compares_with_is_taken_and_all_are_listed(shape: list[int]) -> None:
    nodes = [
        op("Equal", "rate a", "is_a", "first"),
        op("Equal", "rate b", "is_b", "second"),
        op("Or", "is_a is_b", "either", "or"),
        op("Cast", "either", "y", "cast", to=FLOAT),
    ]
    values, said = drawn(built(nodes, {"rate": (INT64, shape)}, {"a": np.int64(16000), "b": np.int64(8000)}))
    constant_in_all(values["rate"], 16000)
    assert said["rate"].startswith("drawn 16000 (compared in first, second, known values: 16000, 8000; --inputs")


def test_numbers_on_the_way_to_a_comparison_are_undone() -> None:
    nodes = [op("Mul", "x ten", "a", "mul"), op("Sub", "a five", "b", "sub"), op("Equal", "b c", "d", "equal")]
    nodes.append(op("Cast", "d", "y", "cast", to=FLOAT))
    constants = {"ten": np.int64(10), "five": np.int64(5), "c": np.int64(25)}
    values, _ = drawn(built(nodes, {"x": (INT64, [])}, constants))
    constant_in_all(values["x"], 3)


# sizes


Made = Callable[[dict[str, list[Any]]], None]

SIZES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], Values, Values]] = {
    "a shape of as many elements": ([op("Reshape", "x s", "y", "r")], {"s": [2]}, {}, {"s": [4, 6]}),
    "a shape of fewer axes": ([op("Reshape", "x s", "y", "r")], {"s": [1]}, {}, {"s": [24]}),
    "a shape of more axes": ([op("Reshape", "x s", "y", "r")], {"s": [3]}, {}, {"s": [4, 6, 1]}),
    "a part of a shape": (
        [op("Concat", "two n", "s", "concat", axis=0), op("Reshape", "x s", "y", "r")],
        {"n": [1]},
        {"two": np.array([2])},
        {"n": [12]},
    ),
    "scalars of a shape": (
        [
            op("Unsqueeze", "m zero", "mu", "mu"),
            op("Unsqueeze", "n zero", "nu", "nu"),
            op("Concat", "mu three nu", "s", "concat", axis=0),
            op("Reshape", "x s", "y", "r"),
        ],
        {"m": [], "n": []},
        {"zero": np.array([0]), "three": np.array([3])},
        {"m": 4, "n": 2},
    ),
    "a vector in parts": (
        [
            op("Gather", "s one", "h", "h"),
            op("Unsqueeze", "h zero", "hu", "hu"),
            op("Concat", "four hu", "t", "concat", axis=0),
            op("Reshape", "x t", "y", "r"),
        ],
        {"s": [2]},
        {"one": np.int64(1), "zero": np.array([0]), "four": np.array([4])},
        {"s": [1, 6]},
    ),
    "a shape to expand to": ([op("Expand", "x s", "y", "e")], {"s": [2]}, {}, {"s": [4, 6]}),
    "repeats": ([op("Tile", "x s", "y", "t")], {"s": [2]}, {}, {"s": [1, 1]}),
    "a shape to fill": ([op("ConstantOfShape", "s", "y", "c")], {"s": [3]}, {}, {"s": [1, 1, 1]}),
    "a slice": (
        [op("Slice", "x b e a", "y", "s")],
        {"b": [2], "e": [2]},
        {"a": np.array([0, 1])},
        {"b": [0, 0], "e": [4, 6]},
    ),
    "axes and steps of a slice": (
        [op("Slice", "x b e a s", "y", "s")],
        {"a": [2], "s": [2]},
        {"b": np.array([0, 0]), "e": np.array([2, 3])},
        {"a": [0, 1], "s": [1, 1]},
    ),
    "padding": ([op("Pad", "x p", "y", "p")], {"p": [4]}, {}, {"p": [0, 0, 0, 0]}),
    "parts of a split": (
        [op("Split", "x s", "y z", "s", axis=1)],
        {"s": [2]},
        {},
        {"s": [3, 3]},
    ),
    "axes to insert and to drop": (
        [op("Unsqueeze", "x a", "u", "u"), op("Squeeze", "u b", "y", "s")],
        {"a": [1], "b": [1]},
        {},
        {"a": [0], "b": [0]},
    ),
    "axes to sum over": ([op("ReduceSum", "x a", "y", "s")], {"a": [1]}, {}, {"a": [0]}),
    "how many to keep": ([op("TopK", "x k", "y z", "k")], {"k": [1]}, {}, {"k": [6]}),
    "turns of a loop": (
        [
            op(
                "Loop",
                "n go",
                "y",
                "loop",
                body=helper.make_graph(
                    [op("Gather", "x turn", "row", "row"), op("Identity", "c", "d", "go")],
                    "b",
                    [helper.make_tensor_value_info("turn", INT64, []), helper.make_tensor_value_info("c", BOOL, [])],
                    [helper.make_tensor_value_info("d", BOOL, []), helper.make_tensor_value_info("row", FLOAT, [6])],
                ),
            )
        ],
        {"n": []},
        {"go": np.array(True)},
        {"n": 4},
    ),
    "the end of a range": (
        [op("Range", "zero n unit", "r", "range"), op("Gather", "t r", "y", "emb")],
        {"n": []},
        {"zero": np.int64(0), "unit": np.int64(1), "t": table(3)},
        {"n": 3},
    ),
    "a depth": (
        [op("OneHot", "label depth pair", "y", "hot")],
        {"depth": []},
        {"label": np.array([0, 9]), "pair": np.array([0, 1], np.float32)},
        {"depth": 10},
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_fit_what_they_are_of(name: str) -> None:
    nodes, kinds, constants, expected = SIZES[name]
    takes_x = any("x" in node.input for node in nodes) or "x turn" in str(nodes)
    inputs = {"x": (FLOAT, [4, 6]), **{n: (INT64, shape) for n, shape in kinds.items()}}
    if not takes_x and name != "turns of a loop":
        del inputs["x"]
    outputs = {
        o: (FLOAT if o == "y" else INT64 if name == "how many to keep" else FLOAT, None) for o in nodes[-1].output
    }
    values, said = drawn(built(nodes, inputs, constants, outputs), seeds=2)
    for size, wanted in expected.items():
        constant_in_all(values[size], wanted)
        assert said[size].startswith("drawn ")


def test_a_declared_output_says_the_sizes() -> None:
    nodes = [op("Reshape", "x s", "y", "r"), op("TopK", "y k", "v i", "k")]
    outputs = {"y": (FLOAT, [3, 8]), "v": (FLOAT, [3, 5]), "i": (INT64, [3, 5])}
    values, _ = drawn(built(nodes, {"x": (FLOAT, [4, 6]), "s": (INT64, [2]), "k": (INT64, [1])}, {}, outputs))
    constant_in_all(values["s"], [3, 8])
    constant_in_all(values["k"], [5])


def test_sizes_and_factors_of_an_image() -> None:
    nodes = [
        op("Resize", "x - - size".replace("-", "none"), "a", "one", mode="nearest"),
        op("Resize", "x none factor", "b", "two", mode="nearest"),
    ]
    for node in nodes:
        node.input[:] = ["" if name == "none" else name for name in node.input]
    kinds = {"x": (FLOAT, [1, 2, 6, 8]), "size": (INT64, [4]), "factor": (FLOAT, [4])}
    values, _ = drawn(built(nodes, kinds, {}, {"a": (FLOAT, None), "b": (FLOAT, None)}))
    constant_in_all(values["size"], [1, 2, 6, 8])
    constant_in_all(values["factor"], [1, 1, 1, 1])


def test_boxes_are_kept_by_thresholds_that_make_sense() -> None:
    nodes = [op("NonMaxSuppression", "boxes scores most overlap least", "y", "nms")]
    kinds = {
        "boxes": (FLOAT, [1, 20, 4]),
        "scores": (FLOAT, [1, 2, 20]),
        "most": (INT64, [1]),
        "overlap": (FLOAT, [1]),
        "least": (FLOAT, [1]),
    }
    values, _ = drawn(built(nodes, kinds, {}, {"y": (INT64, None)}))
    constant_in_all(values["most"], 10)
    constant_in_all(values["overlap"], 0.5)
    constant_in_all(values["least"], 0)


def bag(count: int, total: int) -> onnx.ModelProto:
    """The embedding bag of PyTorch's exporter: a loop over offsets, each to the next."""
    nodes = [
        op("Gather", "starts i", "s", "s"),
        op("Gather", "ends i", "e", "e"),
        op("Unsqueeze", "s zero", "su", "su"),
        op("Unsqueeze", "e zero", "eu", "eu"),
        op("Slice", "ids su eu", "part", "cut"),
        op("Gather", "t part", "rows", "rows"),
        op("ReduceSum", "rows zero", "sum", "sum", keepdims=0),
        op("Identity", "c", "d", "go"),
    ]
    body = helper.make_graph(
        nodes,
        "bag",
        [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("c", BOOL, [])],
        [helper.make_tensor_value_info("d", BOOL, []), helper.make_tensor_value_info("sum", FLOAT, [3])],
    )
    around = [
        op("Slice", "offsets one far", "tail", "tail"),
        op("Shape", "ids", "all", "all"),
        op("Concat", "tail all", "ends", "ends", axis=0),
        op("Identity", "offsets", "starts", "starts"),
        op("Shape", "offsets", "n", "n"),
        op("Squeeze", "n", "turns", "turns"),
        op("Loop", "turns go", "y", "loop", body=body),
    ]
    constants = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "far": np.array([2**31]),
        "go": np.array(True),
        "t": table(40),
    }
    return built(around, {"offsets": (INT64, [count]), "ids": (INT64, [total])}, constants)


@pytest.mark.parametrize(("count", "total"), [(8, 24), (5, 5), (6, 3), (1, 4)])
def test_offsets_are_in_order(count: int, total: int) -> None:
    values, said = drawn(bag(count, total))
    for offsets in values["offsets"]:
        assert offsets.shape == (count,)
        assert offsets[0] == 0
        assert offsets.max() <= total
        gaps = np.diff(offsets)
        assert (gaps >= (1 if count <= total else 0)).all()
    all_within(values["ids"], 0, 39)
    assert said["offsets"].startswith(f"drawn in order from 0, within 0..{total} (")


def test_offsets_that_a_slice_picks_by_a_number_of_the_loop_are_in_order() -> None:
    """As PyTorch's newer exporter takes them: offsets[i:i+1] and offsets[i+1:i+2]."""
    nodes = [
        op("Reshape", "i one", "a", "a"),
        op("Add", "a one", "b", "b"),
        op("Add", "b one", "c", "c"),
        op("Slice", "ends a b", "begin", "begin"),
        op("Slice", "ends b c", "end", "end"),
        op("Slice", "ids begin end", "part", "cut"),
        op("Gather", "t part", "rows", "rows"),
        op("ReduceSum", "rows zero", "sum", "sum", keepdims=0),
        op("Identity", "go_on", "d", "go"),
    ]
    body = helper.make_graph(
        nodes,
        "bag",
        [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("go_on", BOOL, [])],
        [helper.make_tensor_value_info("d", BOOL, []), helper.make_tensor_value_info("sum", FLOAT, [3])],
    )
    around = [
        op("Shape", "ids", "all", "all"),
        op("Concat", "offsets all", "ends", "ends", axis=0),
        op("Loop", "n go", "y", "loop", body=body),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "n": np.int64(4), "go": np.array(True), "t": table(9)}
    values, _ = drawn(built(around, {"offsets": (INT64, [4]), "ids": (INT64, [11])}, constants))
    for offsets in values["offsets"]:
        assert offsets[0] == 0
        assert (np.diff(offsets) >= 1).all()
        assert offsets[-1] < 11


def test_frames_of_a_signal_fit_into_it() -> None:
    nodes = [op("STFT", "x step - length", "y", "stft")]
    nodes[0].input[2] = ""
    kinds = {"x": (FLOAT, [1, 128, 1]), "step": (INT64, []), "length": (INT64, [])}
    values, _ = drawn(built(nodes, kinds))
    constant_in_all(values["length"], 16)
    constant_in_all(values["step"], 8)


# what would harm


def test_nothing_is_divided_by_zero() -> None:
    nodes = [op("Div", "c d", "a", "div"), op("Mod", "c e", "b", "mod"), op("Add", "a b", "y", "add")]
    kinds = {"d": (INT64, [4]), "e": (INT64, [4])}
    values, _ = drawn(built(nodes, kinds, {"c": np.array([1, 2, 3, 4])}, {"y": (INT64, None)}))
    for name in kinds:
        assert min(value.min() for value in values[name]) >= 1


def test_numbers_within_bounds_of_their_own_fill_them() -> None:
    nodes = [op("Clip", "x low high", "y", "clip")]
    constants = {"low": np.int64(5), "high": np.int64(90)}
    values, _ = drawn(built(nodes, {"x": (INT64, [40])}, constants, {"y": (INT64, None)}))
    all_within(values["x"], 5, 90)


# types


def test_what_nothing_is_known_of_is_drawn_by_its_type() -> None:
    nodes = [op("Cast", name, f"{name}f", name, to=FLOAT) for name in ("image", "number", "flag")]
    nodes += [op("Identity", "x", "xf", "x"), op("Identity", "half", "halff", "half")]
    kinds = {
        "image": (UINT8, [3, 20]),
        "number": (INT64, [40]),
        "flag": (BOOL, [3]),
        "x": (FLOAT, [400]),
        "half": (TensorProto.FLOAT16, [9]),
    }
    outputs = {f"{n}f": (TensorProto.FLOAT16 if n == "half" else FLOAT, None) for n in kinds}
    values, said = drawn(built(nodes, kinds, {}, outputs))
    all_within(values["image"], 0, 255)
    all_within(values["number"], 0, 1)
    constant_in_all(values["flag"], True)
    assert abs(np.concatenate(values["x"]).mean()) < 0.2
    assert values["half"][0].dtype == np.float16
    assert said["number"] == "drawn within 0..1 (nothing in the graph says what it is)"
    assert said["x"] == said["half"] == "drawn from a normal distribution"


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT8E4M3FN", "INT4", "UINT4"])
def test_types_that_only_onnx_has_are_drawn(kind: str) -> None:
    made = built(
        [op("Identity", "x", "y", "id")],
        {"x": (getattr(TensorProto, kind), [2, 8])},
        {},
        {"y": (getattr(TensorProto, kind), [2, 8])},
        21,
    )
    (batch,) = itertools.islice(drawn_inputs(from_model(made, "g")).batches(0), 1)
    assert batch["x"].dtype == onnx.helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    assert batch["x"].shape == (2, 8)


def test_quantized_products_get_all_of_their_range() -> None:
    nodes = [op("MatMulInteger", "x w", "y", "mm")]
    values, _ = drawn(built(nodes, {"x": (UINT8, [8, 4])}, {"w": np.ones((4, 2), np.uint8)}, {"y": (INT32, None)}))
    all_within(values["x"], 0, 255)


def test_an_empty_input_is_drawn_empty() -> None:
    nodes = [op("Concat", "past x", "y", "concat", axis=0)]
    values, _ = drawn(built(nodes, {"past": (FLOAT, [0, 2]), "x": (FLOAT, [1, 2])}))
    assert {value.shape for value in values["past"]} == {(0, 2)}


def test_a_sequence_is_drawn_as_tensors_that_its_use_allows() -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(INT64, [7]))
    made = built(
        [op("ConcatFromSequence", "xs", "i", "join", axis=0), op("Gather", "t i", "y", "emb")], {}, {"t": table(12)}
    )
    made.graph.input.append(helper.make_value_info("xs", kind))
    values, said = drawn(made)
    assert all(isinstance(value, list) and len(value) == 2 for value in values["xs"])
    all_within([tensor for value in values["xs"] for tensor in value], 0, 11)
    assert said["xs"] == "2 tensors drawn within 0..11 (rows of emb)"


def test_a_map_cannot_be_drawn() -> None:
    kind = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))
    node = op("DictVectorizer", "m", "y", "v", string_vocabulary=["a", "b"])
    node.domain = "ai.onnx.ml"
    made = built([node], {}, {}, {"y": (FLOAT, [1, 2])})
    made.graph.input.append(helper.make_value_info("m", kind))
    with pytest.raises(DataError, match="no values can be drawn for input 'm'"):
        drawn_inputs(from_model(made, "g"))


# strings and classes


def ml(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    node = op(kind, inputs, outputs, kind.lower(), **attributes)
    node.domain = "ai.onnx.ml"
    return node


COUNTS = {
    "mode": "TF",
    "min_gram_length": 1,
    "max_gram_length": 1,
    "max_skip_count": 0,
    "ngram_counts": [0],
    "ngram_indexes": [0, 1],
}

TEXTS: dict[str, tuple[list[onnx.NodeProto], set[str]]] = {
    "counted": ([op("TfIdfVectorizer", "s", "y", "v", pool_strings=["cat", "dog"], **COUNTS)], {"cat", "dog"}),
    "normalised": (
        [
            op("StringNormalizer", "s", "n", "n", case_change_action="LOWER", locale="C"),
            op("TfIdfVectorizer", "n", "y", "v", pool_strings=["cat", "dog"], **COUNTS),
        ],
        {"cat", "dog"},
    ),
    "labelled": ([ml("LabelEncoder", "s", "y", keys_strings=["x", "z"], values_floats=[1.0, 2.0])], {"x", "z"}),
    "one-hot": ([ml("OneHotEncoder", "s", "y", cats_strings=["p", "q"])], {"p", "q"}),
    "compared": ([op("Equal", "s words", "c", "eq"), op("Cast", "c", "y", "cast", to=FLOAT)], {"yes"}),
    "read as numbers": ([op("Cast", "s", "y", "cast", to=FLOAT)], set("0123456789")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_strings_are_words_that_the_graph_knows(name: str) -> None:
    nodes, words = TEXTS[name]
    constants = {"words": np.array(["yes"], object)} if name == "compared" else {}
    values, said = drawn(built(nodes, {"s": (STRING, [12])}, constants, {"y": (FLOAT, None)}, opset=19))
    assert {word for value in values["s"] for word in value.tolist()} == words
    assert said["s"].startswith("drawn words that the graph knows (")


def test_text_that_is_cut_into_words_is_several() -> None:
    nodes = [
        op("StringSplit", "s", "words n", "split", delimiter="-"),
        op("TfIdfVectorizer", "words", "y", "v", pool_strings=["cat", "dog"], **COUNTS),
    ]
    values, said = drawn(built(nodes, {"s": (STRING, [3])}, {}, {"y": (FLOAT, None), "n": (INT64, None)}, opset=20))
    for text in np.concatenate(values["s"]):
        assert len(text.split("-")) == 8
        assert set(text.split("-")) <= {"cat", "dog"}
    assert said["s"].startswith("drawn 8 words that the graph knows (")


def test_strings_without_a_vocabulary_are_some_words() -> None:
    values, said = drawn(built([op("Identity", "s", "y", "id")], {"s": (STRING, [2, 2])}, {}, {"y": (STRING, None)}))
    assert all(isinstance(word, str) and word for value in values["s"] for word in value.ravel())
    assert said["s"] == "drawn some words (the graph has none of its own)"


def test_whole_numbers_that_stand_for_classes_are_those() -> None:
    nodes = [ml("LabelEncoder", "i", "y", keys_int64s=[10, 20, 30], values_floats=[1.0, 2.0, 3.0])]
    values, _ = drawn(built(nodes, {"i": (INT64, [9])}))
    assert {int(n) for value in values["i"] for n in value} == {10, 20, 30}


# the batches of a run


def test_a_seed_gives_the_same_batches_and_an_inputs_do_not_depend_on_others() -> None:
    nodes = [op("Gather", "t i", "a", "one"), op("Gather", "t j", "b", "two"), op("Add", "a b", "y", "add")]
    graph = from_model(built(nodes, {"i": (INT64, [9]), "j": (INT64, [9])}, {"t": table(90)}), "g")
    both, one = (drawn_inputs(graph, only) for only in (None, ["i"]))
    first, second = itertools.islice(both.batches(3), 2)
    again = next(both.batches(3))
    np.testing.assert_array_equal(first["i"], again["i"])
    np.testing.assert_array_equal(first["i"], next(one.batches(3))["i"])
    assert not np.array_equal(first["i"], second["i"])
    assert not np.array_equal(first["i"], next(both.batches(4))["i"])
    assert not np.array_equal(first["i"], first["j"])


def test_a_manifest_says_how_inputs_were_drawn() -> None:
    graph = from_model(built([op("Gather", "t i", "y", "emb")], {"i": (INT64, [9])}, {"t": table(90)}), "g")
    _, facts = run_batches(graph, None, 0, 1)
    assert facts["inputs"] == {"i": "drawn within 0..89 (rows of emb)"}


def test_a_step_that_fails_says_what_it_was_fed_with() -> None:
    """The table is a result of the graph whose size depends on data, which nothing can know before a run."""
    nodes = [
        op("NonZero", "x", "found", "found"),
        op("Transpose", "found", "t", "t"),
        op("Gather", "t i", "y", "pick", axis=1),
    ]
    made = built(nodes, {"x": (FLOAT, [2]), "i": (INT64, [4])}, {}, {"y": (INT64, None)})
    said = r"failed in a step .*, fed with i drawn within 0..1 \(.*\); give real values with --inputs FILE.npz"
    with pytest.raises(StepError, match=said) as found:
        profile(from_model(made, "g"), threads=1, warmup=0, steps=1)
    assert found.value.exit_code == 8
    assert "\n" not in str(found.value)
