"""Stepping graphs that are unlike ours: scalars, text, sequences, empty tensors, outputs sized by the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from fathom_onnx.errors import RunError, UsageError
from fathom_onnx.graph import Graph, from_model, load
from fathom_onnx.graph.static.in_place import written_in_place
from fathom_onnx.runtime.prepare import Prepared, prepare
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from support.graphs.small_models import BOOL, FLOAT, INT64, model, op

CPU = SessionSettings()


def results(graph: Graph, *batches: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of some steps, one after the other with one stepper."""
    stepper = open_stepper(prepare(graph), CPU)
    each = []
    for batch in batches:
        stepper.step(batch)
        each.append(stepper.results())
    return each


def test_a_scalar_is_fed_as_a_scalar() -> None:
    graph = from_model(
        model(
            [op("Add", "x s", "y"), op("Neg", "s", "n")],
            {"x": (INT64, [2]), "s": (INT64, [])},
            {"y": (INT64, [2]), "n": (INT64, [])},
        ),
        "m",
    )
    (one,) = results(graph, {"x": np.array([1, 2]), "s": np.array(5)})
    assert one["y"].tolist() == [6, 7]
    assert one["n"].shape == ()
    assert one["n"] == -5
    with pytest.raises(RunError, match=r"input 'x' must be int64 \[2\], not int64 \[\]"):
        results(graph, {"x": np.array(1), "s": np.array(5)})


TABLE = {"p": (FLOAT, [4, 2]), "rows": (FLOAT, [2, 2]), "at": (INT64, [2, 2])}
STATE = (("p.next", "p"),)
SCATTER = op("ScatterElements", "p at gone", "p.next", axis=0, reduction="add")
READ = op("GatherElements", "p at", "old", axis=0)


@pytest.mark.parametrize(
    ("nodes", "places"),
    [
        ([READ, op("Mul", "old rows", "gone"), SCATTER], {"p"}),
        ([op("Neg", "rows", "gone"), SCATTER], {"p"}),
        ([op("Neg", "rows", "gone"), READ, op("Neg", "old", "y"), SCATTER], set()),  # may be read after it is written
        ([op("Relu", "p", "q"), op("GatherElements", "q at", "gone", axis=0), SCATTER], set()),
        ([op("Identity", "p", "q"), op("GatherElements", "q at", "gone", axis=0), SCATTER], set()),  # the same memory
        ([op("Neg", "rows", "gone"), op("ScatterElements", "q at gone", "p.next", axis=0)], set()),
        ([op("Add", "p p", "p.next")], set()),
    ],
)
def test_new_state_takes_the_place_of_the_old_where_all_have_read_it(
    nodes: list[onnx.NodeProto], places: set[str]
) -> None:
    graph = model(nodes, TABLE, {"p.next": (FLOAT, [4, 2])}).graph
    assert written_in_place(graph, STATE) == places


def test_state_in_place_adds_rows_of_one_number_and_keeps_what_is_not_carried() -> None:
    made = model([op("Neg", "rows", "gone"), SCATTER], TABLE, {"p.next": (FLOAT, [4, 2])})
    start = np.arange(8, dtype=np.float32).reshape(4, 2)
    stepper = open_stepper(Prepared(made, {}, STATE, {"p": start}), CPU)
    batch = {"rows": np.array([[1, 2], [4, 8]], np.float32), "at": np.array([[3, 3], [3, 3]])}
    stepper.step(batch, carry=False)
    assert np.array_equal(stepper.state()["p"], start)
    for _ in range(2):
        stepper.step(batch)
    assert stepper.state()["p"].tolist() == [[0, 1], [2, 3], [4, 5], [6 - 10, 7 - 20]]


def test_results_may_have_another_size_in_every_step() -> None:
    graph = from_model(
        model(
            [op("NonZero", "x", "where"), op("Relu", "x", "y")],
            {"x": (FLOAT, [4])},
            {"where": (INT64, [1, "n"]), "y": (FLOAT, [4])},
        ),
        "m",
    )
    batches = [{"x": np.array(v, np.float32)} for v in ([1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0])]
    assert [r["where"].tolist() for r in results(graph, *batches)] == [[[0, 2]], [[0, 1, 2]], [[]]]


def test_a_dimension_may_be_zero() -> None:
    made = model(
        [op("Concat", "past x", "y", axis=0)],
        {"past": (FLOAT, ["p", 2]), "x": (FLOAT, [1, 2])},
        {"y": (FLOAT, None)},
        infer=False,
    )
    graph = from_model(made, "m", dimensions={"p": 0})
    assert graph.tensors["y"].shape == (1, 2)
    (one,) = results(graph, {"past": np.zeros((0, 2), np.float32), "x": np.ones((1, 2), np.float32)})
    assert one["y"].tolist() == [[1, 1]]


def test_text_goes_in_and_comes_out() -> None:
    text = onnx.TensorProto.STRING
    graph = from_model(model([op("Identity", "x", "y")], {"x": (text, [2])}, {"y": (text, [2])}), "m")
    (one,) = results(graph, {"x": np.array(["a", "bc"])})
    assert one["y"].tolist() == ["a", "bc"]


def test_sequences_and_optional_values_go_in() -> None:
    pair = helper.make_tensor_type_proto(FLOAT, [2])
    made = model(
        [op("ConcatFromSequence", "xs", "y", axis=0), op("OptionalHasElement", "maybe", "has")],
        {},
        {"y": (FLOAT, None), "has": (BOOL, [])},
        infer=False,
    )
    made.graph.input.append(onnx.ValueInfoProto(name="xs", type=helper.make_sequence_type_proto(pair)))
    made.graph.input.append(onnx.ValueInfoProto(name="maybe", type=helper.make_optional_type_proto(pair)))
    xs = [np.array([1, 2], np.float32), np.array([3, 4], np.float32)]
    first, second = results(from_model(made, "m"), {"xs": xs, "maybe": None}, {"xs": xs[:1], "maybe": xs[0]})
    assert first["y"].tolist() == [1, 2, 3, 4]
    assert not first["has"]
    assert second["y"].tolist() == [1, 2]
    assert second["has"]


def test_types_that_numpy_does_not_have_are_fed_by_their_bits() -> None:
    bfloat16 = onnx.TensorProto.BFLOAT16
    graph = from_model(model([op("Cast", "x", "y", to=FLOAT)], {"x": (bfloat16, [3])}, {"y": (FLOAT, [3])}), "m")
    (one,) = results(graph, {"x": np.array([1, -2, 0.5], ml_dtypes.bfloat16)})
    assert one["y"].tolist() == [1, -2, 0.5]


@pytest.mark.parametrize("also_input", [False, True])
def test_large_initializers_that_nothing_uses_do_no_harm(also_input: bool) -> None:
    made = model(
        [op("MatMul", "x w", "y")],
        {"x": (FLOAT, [1, 20])},
        {"y": (FLOAT, [1, 20])},
        {"w": np.eye(20, dtype=np.float32), "unused": np.ones((20, 20), np.float32)},
    )
    if also_input:
        made.graph.input.append(helper.make_tensor_value_info("unused", FLOAT, [20, 20]))
    (one,) = results(from_model(made, "m"), {"x": np.ones((1, 20), np.float32)})
    assert one["y"].tolist() == [[1] * 20]


def test_an_initializer_that_only_a_body_uses_is_used() -> None:
    large = np.arange(400, dtype=np.float32).reshape(20, 20)
    branches = [
        helper.make_graph([op("MatMul", f"x {w}", o)], o, [], [helper.make_tensor_value_info(o, FLOAT, [1, 20])])
        for w, o in (("w", "t"), ("v", "e"))
    ]
    made = model(
        [op("If", "c", "y", then_branch=branches[0], else_branch=branches[1])],
        {"c": (BOOL, []), "x": (FLOAT, [1, 20])},
        {"y": (FLOAT, [1, 20])},
        {"w": large, "v": -large},
    )
    one, two = results(
        from_model(made, "m"), *({"c": np.array(c), "x": np.ones((1, 20), np.float32)} for c in (True, False))
    )
    assert one["y"].tolist() == [large.sum(axis=0).tolist()]
    assert two["y"].tolist() == [(-large.sum(axis=0)).tolist()]


def test_external_weights_are_taken_from_their_file(tmp_path: Path) -> None:
    weights = np.arange(400, dtype=np.float32).reshape(20, 20)
    made = model([op("MatMul", "x w", "y")], {"x": (FLOAT, [1, 20])}, {"y": (FLOAT, [1, 20])}, {"w": weights})
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    (one,) = results(load(tmp_path / "m.onnx"), {"x": np.ones((1, 20), np.float32)})
    assert one["y"].tolist() == [weights.sum(axis=0).tolist()]


def test_a_library_of_operators_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file '.*none\.so'; give a library of operators with --custom-ops"):
        SessionSettings(custom_ops=(tmp_path / "none.so",))
    (tmp_path / "text.so").write_text("no library")
    graph = from_model(model([op("Relu", "x", "y")], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])}), "m")
    with pytest.raises(RunError, match=r"library '.*text\.so' cannot be registered"):
        open_stepper(prepare(graph), SessionSettings(custom_ops=(tmp_path / "text.so",)))
