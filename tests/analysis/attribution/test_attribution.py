"""From executed nodes back to original ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from fathom_onnx.analysis.attribution.attribution import Matching, attribute
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.dataflow import Dataflow
from fathom_onnx.graph.tensors import tensors_of
from fathom_onnx.runtime.fingerprint import Fingerprint, fingerprint, fingerprints, perturbed
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.settings import OPTIMIZATIONS, Optimization
from support.graphs.small_models import FLOAT, cnn, control_flow, line_inference, model, op
from support.runs.attributions import check, optimize, table


@pytest.mark.parametrize("level", OPTIMIZATIONS)
def test_every_node_of_a_cnn_is_attributed_or_charged(level: Optimization, tmp_path: Path) -> None:
    graph = cnn()
    found = attribute(graph, optimize(graph, level, tmp_path))
    check(found)
    assert {n.kind for n in found.nodes} <= {"attributed", "charged"}
    assert found.absent == ()


def test_without_optimization_each_node_is_itself(tmp_path: Path) -> None:
    graph = cnn()
    found = attribute(graph, optimize(graph, "none", tmp_path))
    assert table(found) == {n.name: ("attributed", (n.name,)) for n in graph.model.graph.node}
    assert not any(n.split for n in found.nodes)


def test_fused_nodes_stand_for_what_they_swallowed(tmp_path: Path) -> None:
    graph = cnn()
    rows = table(attribute(graph, optimize(graph, "extended", tmp_path)))
    assert rows["forward/c1/Conv2D"] == (
        "attributed",
        ("forward/c1/Conv2D", "forward/n1/BatchNorm", "forward/r1/Relu"),
    )
    assert rows["forward/c2/Conv2D"] == ("attributed", ("forward/c2/Conv2D", "forward/n2/BatchNorm"))
    assert rows["forward/add/Add"] == ("attributed", ("forward/add/Add",))
    assert rows["fused forward/fc/MatMul"] == ("attributed", ("forward/fc/MatMul", "forward/r3/Relu"))


BLOCKED = "com.microsoft.nchwc"


def blocked_cnn() -> onnx.ModelProto:
    """What onnxruntime 1.31 makes of the CNN at level all, written down so that no CPU feature decides."""

    def conv(inputs: str, output: str, name: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node("Conv", inputs.split(), [output], name=name, domain=BLOCKED, **attributes)

    def reorder(kind: str, source: str, target: str) -> onnx.NodeProto:
        return helper.make_node(kind, [source], [target], name=f"{kind}_{target}", domain=BLOCKED)

    nodes = [
        conv("x v1 u1", "t1", "r1_nchwc", activation="Relu"),
        conv("t1 v2 u2 t1", "t2", "b2_nchwc", activation="Relu"),
        helper.make_node("MaxPool", ["t2"], ["t3"], name="p_nchwc_token_3", domain=BLOCKED),
        conv("t3 v3", "t4", "c3_nchwc"),
        reorder("ReorderOutput", "t4", "c3"),
        op("GlobalAveragePool", "c3", "g", "forward/gap/Mean"),
        op("Flatten", "g", "f", "forward/gap/Reshape"),
        helper.make_node("FusedGemm", ["f", "fw", "fb"], ["y"], name="fused", domain="com.microsoft"),
    ]
    constants = {n: np.zeros(1, np.float32) for n in ("v1", "u1", "v2", "u2", "v3", "fw", "fb")}
    return model(nodes, {"x": (FLOAT, (2, 3, 16, 16))}, {"y": (FLOAT, (2, 10))}, constants, infer=False)


def test_blocked_convolutions_are_found_by_their_names_residual_and_activation_included() -> None:
    graph = cnn()
    found = attribute(graph, blocked_cnn())
    check(found)
    assert table(found) == {
        "r1_nchwc": ("attributed", ("forward/c1/Conv2D", "forward/n1/BatchNorm", "forward/r1/Relu")),
        "b2_nchwc": (
            "attributed",
            ("forward/c2/Conv2D", "forward/n2/BatchNorm", "forward/add/Add", "forward/r2/Relu"),
        ),
        "p_nchwc_token_3": ("attributed", ("forward/pool/MaxPool",)),
        "c3_nchwc": ("attributed", ("forward/c3/Conv2D",)),
        "ReorderOutput_c3": ("charged", ("forward/c3/Conv2D",)),
        "forward/gap/Mean": ("attributed", ("forward/gap/Mean",)),
        "forward/gap/Reshape": ("attributed", ("forward/gap/Reshape",)),
        "fused": ("attributed", ("forward/fc/MatMul", "forward/r3/Relu")),
    }


def test_a_split_goes_by_flops() -> None:
    found = attribute(cnn(), blocked_cnn())
    # output 2x12x16x16 = 6144; conv 2 * 27 a element, batch norm 2, relu 1
    assert [s.weight for s in found.nodes[0].shares] == pytest.approx([54 / 57, 2 / 57, 1 / 57])
    # conv 2 * 108, batch norm 2, add 1, relu 1
    assert [s.weight for s in found.nodes[1].shares] == pytest.approx([216 / 220, 2 / 220, 1 / 220, 1 / 220])


def test_merged_duplicates_share_the_one_that_runs(tmp_path: Path) -> None:
    nodes = [
        op("Exp", "x", "a", "first"),
        op("Exp", "x", "b", "second"),
        op("Neg", "b", "c", "neg"),
        op("Add", "a c", "y", "add"),
    ]
    graph = from_model(model(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))}), "twins")
    merged = attribute(graph, optimize(graph, "all", tmp_path))
    check(merged)
    assert list(table(merged).values()) == [
        ("attributed", ("first", "second")),
        ("attributed", ("neg",)),
        ("attributed", ("add",)),
    ]
    assert [s.weight for s in merged.nodes[0].shares] == [0.5, 0.5]
    kept = attribute(graph, optimize(graph, "none", tmp_path))
    assert table(kept) == {n.name: ("attributed", (n.name,)) for n in nodes}


def test_random_nodes_are_not_duplicates(tmp_path: Path) -> None:
    nodes = [
        op("RandomNormal", "", "a", "first", shape=[4]),
        op("RandomNormal", "", "b", "second", shape=[4]),
        op("Add", "a x", "c", "add1"),
        op("Mul", "b c", "y", "mul"),
    ]
    graph = from_model(model(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))}), "noise")
    found = attribute(graph, optimize(graph, "all", tmp_path))
    assert table(found) == {n.name: ("attributed", (n.name,)) for n in nodes}


def test_a_transpose_that_was_pushed_through_is_charged_and_nothing_is_lost() -> None:
    graph = from_model(
        model(
            [
                op("Transpose", "x", "t", "transpose", perm=[1, 0]),
                op("Relu", "t", "r", "relu"),
                op("Exp", "r", "y", "exp"),
            ],
            {"x": (FLOAT, (2, 3))},
            {"y": (FLOAT, (3, 2))},
        ),
        "pushed",
    )
    executed = model(
        [
            op("Relu", "x", "u", "k_relu"),
            op("Exp", "u", "v", "k_exp"),
            op("Transpose", "v", "y", "k_transpose", perm=[1, 0]),
        ],
        {"x": (FLOAT, (2, 3))},
        {"y": (FLOAT, (3, 2))},
    )
    found = attribute(graph, executed)
    check(found)
    assert table(found) == {
        "k_relu": ("attributed", ("relu",)),
        "k_exp": ("attributed", ("exp",)),
        "k_transpose": ("charged", ("exp",)),
    }


def test_a_movement_node_that_runs_is_itself_and_an_inserted_cast_is_charged() -> None:
    graph = from_model(
        model(
            [op("Relu", "x", "r", "relu"), op("Transpose", "r", "t", "transpose"), op("Exp", "t", "y", "exp")],
            {"x": (FLOAT, (2, 3))},
            {"y": (FLOAT, (3, 2))},
        ),
        "casts",
    )
    executed = model(
        [
            op("Relu", "x", "r", "k_relu"),
            op("Transpose", "r", "t", "k_transpose"),
            op("Cast", "t", "InsertedPrecisionFreeCast_t", "k_cast", to=11),
            op("Exp", "InsertedPrecisionFreeCast_t", "wide", "k_exp"),
            op("Cast", "wide", "y", "k_back", to=1),
        ],
        {"x": (FLOAT, (2, 3))},
        {"y": (FLOAT, (3, 2))},
    )
    rows = table(attribute(graph, executed))
    assert rows["k_transpose"] == ("attributed", ("transpose",))
    assert rows["k_exp"] == ("attributed", ("exp",))
    assert rows["k_cast"] == ("charged", ("transpose",))
    assert rows["k_back"] == ("charged", ("exp",))


def test_shapes_of_static_tensors_pull_nothing_into_a_fused_node(tmp_path: Path) -> None:
    nodes = [
        op("Relu", "x", "r", "relu"),
        op("Exp", "r", "e", "exp"),
        op("Shape", "r", "s", "shape"),
        op("Reshape", "e s", "f", "reshape"),
        op("Neg", "f", "y", "neg"),
    ]
    graph = from_model(model(nodes, {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 3))}), "shapes")
    rows = table(attribute(graph, optimize(graph, "all", tmp_path)))
    assert rows["neg"] == ("attributed", ("neg",))
    assert rows["exp"] == ("attributed", ("exp",))


def test_bodies_are_attributed_inside_their_node(tmp_path: Path) -> None:
    graph = control_flow()
    for level in ("none", "all"):
        found = attribute(graph, optimize(graph, level, tmp_path))
        check(found)
        rows = table(found)
        for name in ("/loop/Loop", "/loop/MatMul", "/loop/If", "/loop/if/Tanh", "/loop/if/Relu", "/out/Add"):
            assert rows[name] == ("attributed", (name,))


def test_an_if_that_was_decided_is_the_branch_that_took_its_place(tmp_path: Path) -> None:
    info = helper.make_tensor_value_info("t", FLOAT, [3])
    branches = {
        "then_branch": helper.make_graph([op("Exp", "r", "q", "in1"), op("Neg", "q", "t", "in2")], "then", [], [info]),
        "else_branch": helper.make_graph([op("Abs", "r", "t", "in3")], "else", [], [info]),
    }
    nodes = [op("Relu", "x", "r", "relu"), op("If", "c", "z", "if", **branches), op("Sqrt", "z", "y", "sqrt")]
    made = model(nodes, {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))}, {"c": np.bool_(True)})
    graph = from_model(made, "decided")
    found = attribute(graph, optimize(graph, "all", tmp_path))
    check(found)
    by_type = {e.node.op_type: table(found)[e.node.name or f"#{e.index}"] for e in found.executed}
    assert by_type == {
        "Relu": ("attributed", ("relu",)),
        "Exp": ("attributed", ("in1",)),
        "Neg": ("attributed", ("in2",)),
        "Sqrt": ("attributed", ("sqrt",)),
    }
    assert not any(n.split for n in found.nodes)
    states = {e.node.name: found.state_of(e.index) for e in found.originals}
    assert states == {"relu": "ran", "if": "merged", "in1": "ran", "in2": "ran", "in3": "merged", "sqrt": "ran"}


CHAIN = [
    op("Relu", "x", "a", "relu1"),
    op("Sigmoid", "a", "b", "sigmoid"),
    op("Sub", "b half", "c", "sub"),
    op("Relu", "c", "y", "relu2"),
]
RENAMED = [
    op("Relu", "x", "p", "k0"),
    op("Sigmoid", "p", "q", "k1"),
    op("Sub", "q half", "s", "k2"),
    op("Relu", "s", "y", "k3"),
]


def chain(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    return model(nodes, {"x": (FLOAT, (4, 4))}, {"y": (FLOAT, (4, 4))}, {"half": np.float32(0.6)})


def test_values_tell_apart_what_names_do_not() -> None:
    graph, executed = from_model(chain(CHAIN), "chain"), chain(RENAMED)
    by_names = attribute(graph, executed)
    check(by_names)
    assert table(by_names)["k0"] == ("attributed", ("relu1", "relu2"))
    assert table(by_names)["k1"] == ("attributed", ("sigmoid",))
    matching = Matching(graph, executed)
    asked = matching.questions
    assert len(asked) == 1
    assert set(asked[0].executed) == {"p", "q", "s"}
    assert set(asked[0].original) == {"a", "b", "c"}
    feeds = {"x": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    theirs = fingerprints(graph.model, list(asked[0].original), feeds)
    mine = fingerprints(executed, list(asked[0].executed), feeds)
    found = matching.attribution(theirs, mine)
    check(found)
    assert table(found) == {f"k{i}": ("attributed", (n.name,)) for i, n in enumerate(CHAIN)}
    assert not any(n.split for n in found.nodes)


def test_values_follow_seeded_random_ops_and_large_weights() -> None:
    nodes = [
        op("RandomNormal", "", "n", "noise", shape=[300]),
        op("Mul", "n w", "m", "mul"),
        op("Relu", "m", "a", "relu"),
        op("Exp", "a", "y", "exp"),
    ]
    weights = np.random.default_rng(0).normal(size=300).astype(np.float32)
    graph = from_model(model(nodes, {}, {"y": (FLOAT, (300,))}, {"w": weights}), "noise")
    renamed = model(
        [nodes[0], op("Mul", "n w", "p", "k1"), op("Relu", "p", "q", "k2"), op("Exp", "q", "y", "k3")],
        {},
        {"y": (FLOAT, (300,))},
        {"w": weights},
    )
    prepared = prepare(graph)
    assert "w" in prepared.values
    theirs = fingerprints(prepared.model, ["m", "a"], {}, values=prepared.values)
    mine = fingerprints(renamed, ["p", "q"], {})
    assert theirs["m"].matches(mine["p"])
    assert theirs["a"].matches(mine["q"])
    assert not theirs["m"].matches(mine["q"])


def test_a_fingerprint_ignores_order_and_padding_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    value = rng.normal(size=(2, 12, 4, 4)).astype(np.float32)
    padded = np.concatenate([value, np.zeros((2, 4, 4, 4), np.float32)], 1)
    blocked = padded.reshape(2, 2, 8, 4, 4).transpose(0, 1, 3, 4, 2)
    first, second = fingerprint(value), fingerprint(blocked)
    other, scaled = fingerprint(rng.normal(size=value.shape)), fingerprint(value * np.float32(1.01))
    assert first is not None
    assert second is not None
    assert other is not None
    assert scaled is not None
    assert first.matches(second)
    assert not first.matches(other)
    assert not first.matches(scaled)
    zeros = fingerprint(np.zeros(4))
    assert zeros is not None
    assert not zeros.matches(zeros)
    assert fingerprint(np.array([np.nan])) is None
    assert isinstance(first, Fingerprint)


def test_perturbed_state_has_no_two_equal_tensors() -> None:
    state = {"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32), "n": np.array([1, 1]), "w": np.arange(3.0)}
    changed = perturbed(state)
    assert (changed["a"] != changed["b"]).all()
    assert (changed["a"] > 0).all()
    assert changed["n"] is state["n"]
    assert changed["w"] is state["w"]
    assert (state["a"] == 0).all()


def test_parameters_held_as_initializers_are_constant(tmp_path: Path) -> None:
    graph = line_inference()
    found = attribute(graph, optimize(graph, "all", tmp_path))
    assert [(n.kind, len(n.shares)) for n in found.nodes] == [("attributed", 2)]


def test_originals_that_do_not_run_are_folded_or_merged(tmp_path: Path) -> None:
    nodes = [
        op("Neg", "w", "v", "constant"),
        op("Mul", "x v", "a", "product"),
        op("Identity", "a", "i", "nothing"),
        op("Exp", "i", "b", "exp"),
        op("Shape", "x", "s", "shape"),
        op("Reshape", "b s", "c", "reshape"),
        op("Sqrt", "c", "y", "sqrt"),
    ]
    made = model(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))}, {"w": np.ones(4, np.float32)})
    graph = from_model(made, "states")
    found = attribute(graph, optimize(graph, "all", tmp_path))
    check(found)
    assert {e.node.name: found.state_of(e.index) for e in found.originals} == {
        "constant": "folded",
        "product": "ran",
        "nothing": "merged",
        "exp": "ran",
        "shape": "folded",
        "reshape": "ran",
        "sqrt": "ran",
    }
    plain = attribute(graph, optimize(graph, "none", tmp_path))
    assert [plain.state_of(e.index) for e in plain.originals] == ["ran"] * len(nodes)


def test_nodes_are_numbered_parents_before_bodies() -> None:
    entries = numbered(control_flow().model.graph)
    assert [e.index for e in entries] == list(range(len(entries)))
    parents = {e.node.name: (entries[e.parent].node.name if e.parent is not None else None) for e in entries}
    assert parents["/loop/Loop"] is None
    assert parents["/loop/MatMul"] == "/loop/Loop"
    assert parents["/loop/if/Tanh"] == "/loop/If"


def test_dataflow_knows_constants_classes_and_twins() -> None:
    graph = model(
        [
            op("Transpose", "w", "wt", "wt"),
            op("MatMul", "x wt", "a", "a"),
            op("Reshape", "a s", "b", "b"),
            op("Neg", "b", "c", "c"),
            op("Neg", "b", "d", "d"),
            op("Add", "c d", "y", "y"),
        ],
        {"x": (FLOAT, (2, 3)), "w": (FLOAT, (4, 3))},
        {"y": (FLOAT, (8,))},
        {"s": np.array([8])},
    ).graph
    flow = Dataflow(graph, tensors_of(graph), fixed=["w"])
    assert {"w", "wt", "s"} <= flow.constant
    assert flow.is_constant(0)
    assert not flow.is_constant(1)
    assert flow.class_of("a") == flow.class_of("b")
    assert flow.movers == {2}
    assert flow.twins == {3: [4]}
    assert flow.same("d") == "c"
    assert flow.makers(flow.class_of("c")) == [3, 4]
    fed = Dataflow(graph, tensors_of(graph))
    assert "wt" not in fed.constant
    drawn = flow.graph()
    assert set(drawn.predecessors(("class", flow.class_of("b")))) == {("node", 1)}
    assert set(drawn.successors(("class", flow.class_of("a")))) == {("node", 3), ("node", 4)}


UNARY = ("Relu", "Sigmoid", "Exp", "Neg", "Tanh", "Identity", "Transpose", "Abs", "Cast")
BINARY = ("Add", "Mul", "MatMul", "Sub", "Max")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs of 4 x 4 tensors, with constants, movement, duplicates and dead ends."""
    known = ["x", "w"]
    nodes = []
    for index in range(draw(st.integers(2, 14))):
        kind = draw(st.sampled_from(UNARY + BINARY))
        pick = [draw(st.sampled_from(known)) for _ in range(1 if kind in UNARY else 2)]
        attributes = {"Transpose": {"perm": [1, 0]}, "Cast": {"to": 1}}.get(kind, {})
        nodes.append(helper.make_node(kind, pick, [f"t{index}"], name=f"/l{index % 3}/n{index}", **attributes))
        known.append(f"t{index}")
    used = {name for node in nodes for name in node.input}
    outputs = {n: (FLOAT, (4, 4)) for n in known[2:] if n not in used or draw(st.integers(0, 9)) == 0}
    made = model(nodes, {"x": (FLOAT, (4, 4))}, outputs, {"w": np.eye(4, dtype=np.float32) * 2})
    return from_model(made, "random")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs(), level=st.sampled_from(OPTIMIZATIONS))
def test_random_graphs_are_attributed_whole(graph: Graph, level: Optimization, tmp_path: Path) -> None:
    executed = optimize(graph, level, tmp_path)
    found = attribute(graph, executed)
    check(found)
    names = {n.name: n for n in graph.model.graph.node}
    for entry, node in zip(found.executed, found.nodes, strict=True):
        assert node.kind != "unattributed", (entry.node.op_type, node.reason)
        if level == "none" and entry.node.name in names:
            # the node itself is always among what it stands for
            assert entry.node.name in {found.originals[s.original].node.name for s in node.shares}


def test_bodies_that_share_names_have_weights_by_their_own_shapes(tmp_path: Path) -> None:
    """Each branch is a Gemm of [1, n] by [n, 2] and a Relu, under the same names: 4 n FLOPs of 4 n + 2."""
    parts = {}
    for name, size in (("then", 1000), ("else", 2)):
        nodes = [
            op("Expand", "x shape", "wide", f"/{name}/e"),
            op("Gemm", "wide w", "t", f"/{name}/fc"),
            op("Relu", "t", f"{name}_y", f"/{name}/act"),
        ]
        constants = {"w": np.ones((size, 2), np.float32), "shape": np.array([1, size])}
        parts[f"{name}_branch"] = helper.make_graph(
            nodes,
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_y", FLOAT, [1, 2])],
            [onnx.numpy_helper.from_array(value, key) for key, value in constants.items()],
        )
    made = model(
        [op("If", "c", "y", "if", **parts)],
        {"x": (FLOAT, (1, 1)), "c": (onnx.TensorProto.BOOL, ())},
        {"y": (FLOAT, (1, 2))},
    )
    graph = from_model(made, "if")
    found = attribute(graph, optimize(graph, "extended", tmp_path))
    names = {entry.index: entry.node.name for entry in found.originals}
    shares = {names[s.original]: s.weight for n in found.nodes if len(n.shares) == 2 for s in n.shares}
    assert shares == {
        "/then/fc": pytest.approx(4000 / 4002),
        "/then/act": pytest.approx(2 / 4002),
        "/else/fc": pytest.approx(8 / 10),
        "/else/act": pytest.approx(2 / 10),
    }
