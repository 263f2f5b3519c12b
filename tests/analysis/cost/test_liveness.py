"""The memory of a step by the life of its tensors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.analysis.cost.inspection import inspect
from fathom_onnx.analysis.cost.liveness import LiveTensor, liveness, liveness_of, residents_of
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.bodies import TOP, numbered
from support.graphs.small_models import BOOL, FLOAT, INT64, control_flow, line_inference, line_training, model, op


def graph(nodes: list, inputs: dict, outputs: dict, constants: dict | None = None) -> Graph:
    return from_model(model(nodes, inputs, outputs, constants), "g")


def test_a_tensor_lives_from_its_producer_to_its_last_user() -> None:
    made = graph(
        [
            op("Exp", "x", "a", "/one/Exp"),  # x 40, a 40
            op("Concat", "a a a", "b", "/two/Concat", axis=0),  # a 40, b 120; x is over
            op("ReduceSum", "b", "c", "/two/Sum", keepdims=1),  # a 40 (used later), b 120, c 4
            op("Mul", "a c", "y", "/three/Mul"),  # a 40, c 4, y 40
        ],
        {"x": (FLOAT, (10,))},
        {"y": (FLOAT, (10,))},
    )
    found = liveness(made)
    assert found.live_bytes.tolist() == [80, 160, 164, 84]
    assert (found.peak_bytes, found.peak_node) == (164, "/two/Sum")
    assert found.largest == (
        LiveTensor("b", 120, "forward", "two"),
        LiveTensor("a", 40, "forward", "one"),
        LiveTensor("c", 4, "forward", "two"),
    )
    assert found.by_layer == {"one": 40, "two": 124, "three": 40}
    assert (found.parameters_bytes, found.state_bytes, found.next_state_bytes, found.kept_bytes) == (0, 0, 0, 0)
    assert found.unknown == ()


def test_views_share_a_buffer_and_outputs_live_to_the_end() -> None:
    made = graph(
        [
            op("Exp", "x", "early", "early"),  # x, early
            op("Reshape", "early shape", "view", "view"),  # early; x is used again below
            op("Identity", "view", "same", "same"),
            op("Transpose", "same", "turned", "turned"),  # a copy
            op("ReduceSum", "turned", "total", "total", keepdims=0),
            op("Neg", "x", "z", "z"),
        ],
        {"x": (FLOAT, (2, 3))},
        {"view": (FLOAT, (3, 2)), "z": (FLOAT, (2, 3))},
        {"shape": np.array([3, 2])},
    )
    found = liveness(made)
    assert found.live_bytes.tolist() == [48, 48, 48, 72, 76, 72]
    # a tensor that nobody uses lives at its own node only
    assert (found.peak_bytes, found.peak_node) == (76, "total")
    assert found.parameters_bytes == 16


def test_parameters_and_state_stand_apart() -> None:
    training = liveness(line_training())
    # x 12 and xw 12; then x, xw, d 4; x, d, dd 4; x, d, dd, loss 4; x, d, loss, g 12; loss, g, u 12; loss, u; loss
    assert training.live_bytes.tolist() == [24, 28, 20, 24, 32, 28, 16, 4]
    assert (training.parameters_bytes, training.state_bytes, training.next_state_bytes) == (12 + 8, 4, 16)
    # d is made in the forward phase and used by the backward phase; x is fed
    assert training.kept_bytes == 4
    assert training.peak_node == "backward/line/Mul"
    inference = liveness(line_inference())
    assert inference.live_bytes.tolist() == [12 + 8, 8 + 8]
    assert (inference.parameters_bytes, inference.state_bytes) == (6 * 4 + 2 * 4, 0)


def test_a_body_adds_its_peak_to_what_is_alive_around_it() -> None:
    found = liveness(control_flow())
    # ONNX does not say that a Loop's z keeps its shape: it counts nowhere and is named
    assert found.unknown == ("z",)
    assert found.live_bytes[1] == 256 + 256  # x and y
    # x around the loop; in its body at the If: inner, positive, next, go, which an Identity gives on, and one branch
    assert found.live_bytes[0] == 256 + (256 + 1 + 256 + 1) + 256
    assert found.peak_node in ("/loop/if/Tanh", "/loop/if/Relu")
    assert found.parameters_bytes == 8 + 1 + 4


def test_a_graph_of_which_no_node_ran_holds_nothing() -> None:
    made = line_inference()
    nodes = numbered(made.model.graph)
    found = liveness_of(made.model.graph, {TOP: {"x": 12}}, [None] * len(nodes), residents_of(made), order=())
    assert (found.peak_bytes, found.peak_node, found.live_bytes.tolist()) == (0, "", [])


def test_what_has_no_size_is_named_and_not_counted() -> None:
    made = graph(
        [op("NonZero", "x", "where", "nz"), op("Cast", "where", "y", "cast", to=FLOAT)],
        {"x": (FLOAT, (4,))},
        {"y": (FLOAT, None)},
    )
    found = liveness(made)
    assert found.unknown == ("where", "y")
    assert found.live_bytes.tolist() == [16, 0]


@given(st.data())
def test_no_moment_holds_more_than_all_tensors_or_less_than_a_node_needs(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    sizes = {"x": 3}
    nodes = []
    for index in range(count):
        names = data.draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=3))
        nodes.append(helper.make_node("Concat", names, [f"t{index}"], name=f"n{index}", axis=0))
        sizes[f"t{index}"] = sum(sizes[n] for n in names)
    made = graph(nodes, {"x": (FLOAT, (3,))}, {f"t{count - 1}": (FLOAT, (sizes[f"t{count - 1}"],))})
    found = liveness(made)
    assert found.peak_bytes <= 4 * sum(sizes.values())
    for live, node in zip(found.live_bytes, nodes, strict=True):
        assert live >= 4 * sum(sizes[n] for n in {*node.input, *node.output})
    assert sum(found.by_layer.values()) == 4 * (sum(sizes.values()) - 3)


@pytest.mark.parametrize("dtype", [FLOAT, INT64])
def test_sizes_go_by_the_element_type(dtype: int) -> None:
    made = graph([op("Neg", "x", "y", "n")], {"x": (dtype, (5,))}, {"y": (dtype, (5,))})
    assert liveness(made).peak_bytes == 2 * 5 * (4 if dtype == FLOAT else 8)


def branches(then: int, other: int, chosen: bool | None = None) -> Graph:
    """An If whose branches call the same names by different sizes: t of n elements from x, and a constant w of n."""
    parts = {}
    for name, size in (("then", then), ("else", other)):
        nodes = [op("Expand", "x w", "t", f"/{name}/t"), op("ReduceMax", "t", f"{name}_y", f"/{name}/y", keepdims=0)]
        t = helper.make_tensor_value_info("t", FLOAT, [size])
        out = helper.make_tensor_value_info(f"{name}_y", FLOAT, [])
        w = numpy_helper.from_array(np.array([size]), "w")
        parts[f"{name}_branch"] = helper.make_graph(nodes, name, [], [out], [w], value_info=[t])
    inputs = {"x": (FLOAT, (1,)), **({"c": (BOOL, ())} if chosen is None else {})}
    constants = {} if chosen is None else {"c": np.bool_(chosen)}
    return Graph(model([op("If", "c", "y", "if", **parts)], inputs, {"y": (FLOAT, ())}, constants), "if")


@pytest.mark.parametrize(("then", "other"), [(100, 5), (5, 100)])
def test_bodies_that_share_names_have_their_own_sizes(then: int, other: int) -> None:
    found = liveness(branches(then, other))
    # x, the condition and y around the larger branch: t of 400 bytes and its maximum
    assert found.peak_bytes == 4 + 1 + 4 + 400 + 4
    assert found.parameters_bytes == 8 + 8
    assert found.by_layer["then"] == 4 * then + 4
    assert found.by_layer["else"] == 4 * other + 4
    assert found.unknown == ()


def test_a_branch_that_does_not_run_needs_no_memory_but_its_constants() -> None:
    made = branches(100, 5, chosen=False)
    found = inspect(made).memory
    assert (found.peak_bytes, found.peak_node) == (4 + 4 + 20 + 4, "/else/y")
    assert found.parameters_bytes == 1 + 8 + 8
    assert "then" not in found.by_layer
    assert liveness(branches(100, 5), idle={(0, "then_branch")}).peak_bytes == 4 + 1 + 4 + 20 + 4


def test_a_constant_of_a_body_hides_a_tensor_around_it() -> None:
    """The branch's x is a constant of its own: it is not made in the step."""
    made = branches(100, 5)
    part = made.model.graph.node[0].attribute[0].g
    part.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "x"))
    assert liveness(made).parameters_bytes == 8 + 8 + 4


def test_four_bit_tensors_take_half_a_byte_an_element() -> None:
    made = model([op("DequantizeLinear", "w s", "y", "dq")], {}, {"y": (FLOAT, (5, 3))}, {"s": np.float32(1)})
    made.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [5, 3], bytes(8), raw=True))
    assert liveness(Graph(made, "q")).parameters_bytes == 8 + 4
