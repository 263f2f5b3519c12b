"""Attribution of the patterns of real networks: quantized, transformer, control flow, functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import helper

from fathom_onnx.analysis.attribution.attribution import Matching, attribute
from fathom_onnx.analysis.runs.control_flow import control_times
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.graph.functions import without_functions
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.fingerprint import fingerprints
from fathom_onnx.runtime.settings import OPTIMIZATIONS, Optimization
from support.graphs.small_models import FLOAT, control_flow, model, op
from support.runs.attributions import check, optimize, table

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def quantized_cnn() -> Graph:
    """Conv, MaxPool, Conv, Flatten and Gemm between QuantizeLinear and DequantizeLinear pairs; weights in 8 bits."""
    nodes = []
    weights = {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), "fw": (4, 64)}
    constants: dict[str, object] = {"s": np.float32(0.05), "u": np.uint8(128), "z": np.uint8(0), "i": np.int8(0)}
    for name, shape in weights.items():
        constants[f"{name}.q"] = RNG.integers(-100, 100, shape).astype(np.int8)
        nodes.append(op("DequantizeLinear", f"{name}.q s i", name, f"{name}/dq"))

    def pair(source: str, target: str, zero: str = "u") -> None:
        nodes.append(op("QuantizeLinear", f"{source} s {zero}", f"{target}.q", f"{source}/q"))
        nodes.append(op("DequantizeLinear", f"{target}.q s {zero}", target, f"{source}/dq"))

    pair("x", "x1")
    nodes.append(op("Conv", "x1 w1", "c1", "conv1", pads=[1] * 4))
    nodes.append(op("Relu", "c1", "r1", "relu1"))
    pair("r1", "r2", "z")
    nodes.append(op("MaxPool", "r2", "p1", "pool", kernel_shape=[2, 2], strides=[2, 2]))
    pair("p1", "p2", "z")
    nodes.append(op("Conv", "p2 w2", "c2", "conv2", pads=[1] * 4))
    pair("c2", "c3")
    nodes.append(op("Flatten", "c3", "f1", "flatten"))
    pair("f1", "f2")
    nodes.append(op("Gemm", "f2 fw", "g", "fc", transB=1))
    pair("g", "y")
    made = model(nodes, {"x": (FLOAT, (1, 3, 8, 8))}, {"y": (FLOAT, (1, 4))}, constants)
    return from_model(made, "quantized")


def test_quantized_nodes_stand_for_what_is_between_the_quantizations(tmp_path: Path) -> None:
    graph = quantized_cnn()
    found = attribute(graph, optimize(graph, "all", tmp_path))
    check(found)
    owners: dict[str, str] = {}
    for entry, node in zip(found.executed, found.nodes, strict=True):
        assert node.kind in ("attributed", "charged")
        if node.kind == "attributed":
            for share in node.shares:
                owners[found.originals[share.original].node.name] = entry.node.op_type
    assert owners["conv1"] == owners["conv2"] == "QLinearConv"
    assert owners["r1/q"] == "QLinearConv"
    assert owners["pool"] in ("MaxPool", "NhwcMaxPool")
    assert owners["flatten"] == "Flatten"
    states = {e.node.name: found.state_of(e.index) for e in found.originals}
    assert states["w1/dq"] == "folded"
    convs = [n for e, n in zip(found.executed, found.nodes, strict=True) if e.node.op_type == "QLinearConv"]
    assert [{found.originals[s.original].node.name for s in n.shares} for n in convs] == [
        {"x/dq", "conv1", "relu1", "r1/q"},
        {"p1/dq", "conv2", "c2/q"},
    ]


@pytest.mark.parametrize("level", OPTIMIZATIONS)
def test_quantized_graphs_are_covered_at_every_level(level: Optimization, tmp_path: Path) -> None:
    graph = quantized_cnn()
    found = attribute(graph, optimize(graph, level, tmp_path))
    check(found)
    assert {n.kind for n in found.nodes} <= {"attributed", "charged"}


def encoder_layer(width: int = 8) -> Graph:
    """Linear, exact Gelu, linear, residual and norm, as PyTorch writes them; names of a module path."""
    nodes = [
        op("MatMul", "x w1", "m1", "/up/MatMul"),
        op("Add", "m1 b1", "a1", "/up/Add"),
        op("Div", "a1 root", "d", "/act/Div"),
        op("Erf", "d", "e", "/act/Erf"),
        op("Add", "e one", "p", "/act/Add"),
        op("Mul", "a1 p", "q", "/act/Mul"),
        op("Mul", "q half", "g", "/act/Mul_1"),
        op("MatMul", "g w2", "m2", "/down/MatMul"),
        op("Add", "m2 b2", "a2", "/down/Add"),
        op("Add", "a2 x", "s", "/Add"),
        op("LayerNormalization", "s gain b2", "y", "/norm/LayerNormalization", axis=-1),
    ]
    constants = {
        "w1": normal(width, 4 * width),
        "b1": normal(4 * width),
        "w2": normal(4 * width, width),
        "b2": normal(width),
        "gain": normal(width),
        "root": np.float32(2**0.5),
        "one": np.float32(1),
        "half": np.float32(0.5),
    }
    shape = (2, 4, width)
    return from_model(model(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, shape)}, constants), "encoder")


def test_transformer_fusions_keep_their_parts(tmp_path: Path) -> None:
    graph = encoder_layer()
    found = attribute(graph, optimize(graph, "all", tmp_path))
    check(found)
    rows = {e.node.op_type: names for e, (_, names) in zip(found.executed, table(found).values(), strict=True)}
    assert rows["Gelu"] == ("/act/Div", "/act/Erf", "/act/Add", "/act/Mul", "/act/Mul_1")
    assert rows["SkipLayerNormalization"] == ("/Add", "/norm/LayerNormalization")
    products = {
        names for e, (_, names) in zip(found.executed, table(found).values(), strict=True) if "MatMul" in names[0]
    }
    assert {("/up/MatMul", "/up/Add"), ("/down/MatMul", "/down/Add")} <= products
    layers = {label.layer for label in label_nodes(found.originals)}
    assert layers == {"up", "act", "down", "norm", "(model)"}


def with_functions() -> onnx.ModelProto:
    """A function of two nodes called within another one, which is called twice; one call has a module path."""
    domain = "my"
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)]
    inner = helper.make_function(
        domain, "Inner", ["a"], ["b"], [op("Exp", "a", "t", "exp"), op("Neg", "t", "b")], opsets
    )
    call = op("Inner", "p", "u", "inner", domain=domain)
    outer = helper.make_function(domain, "Outer", ["p", "q"], ["r"], [call, op("Add", "u q", "r", "add")], opsets)
    nodes = [op("Outer", "x w", "h", "first", domain=domain), op("Outer", "h w", "y", "second", domain=domain)]
    entry = nodes[1].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'block', 'block.head', 'op']"
    made = model(nodes, {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))}, {"w": np.ones(3, np.float32)}, infer=False)
    made.opset_import.append(helper.make_opsetid(domain, 1))
    made.functions.extend([inner, outer])
    return made


@pytest.mark.parametrize("level", OPTIMIZATIONS)
def test_nodes_of_functions_belong_to_the_call(level: Optimization, tmp_path: Path) -> None:
    graph = from_model(with_functions(), "functions")
    names = ["first/inner/exp", "first/inner/Neg_1", "first/add"]
    names += [name.replace("first", "second") for name in names]
    assert [n.name for n in graph.model.graph.node] == names
    assert not graph.model.functions
    found = attribute(graph, optimize(graph, level, tmp_path))
    check(found)
    assert table(found) == {name: ("attributed", (name,)) for name in names}
    labels = [(label.layer, label.op) for label in label_nodes(found.originals)]
    kinds = ("Exp", "Neg", "Add")
    assert labels[:3] == list(zip(("first/inner", "first/inner", "first"), kinds, strict=True))
    assert labels[3:] == [("block.head", kind) for kind in kinds]


def test_written_out_functions_compute_the_same() -> None:
    made = with_functions()
    value = normal(3)
    before = onnx.reference.ReferenceEvaluator(made).run(None, {"x": value})
    after = onnx.reference.ReferenceEvaluator(without_functions(made)).run(None, {"x": value})
    assert np.array_equal(before[0], after[0])
    plain = control_flow().model
    assert without_functions(plain) is plain


def test_inclusive_time_and_iterations_of_a_loop() -> None:
    graph = control_flow()
    found = attribute(graph, graph.model)
    place = {e.node.name: e.index for e in found.executed}
    us = {
        place[n]: t
        for n, t in {"/loop/Loop": 10.0, "/loop/MatMul": 50.0, "/loop/If": 5.0, "/loop/if/Tanh": 7.0}.items()
    }
    calls = {place["/loop/Loop"]: 1.0, place["/loop/MatMul"]: 5.0, place["/loop/If"]: 5.0, place["/loop/if/Tanh"]: 5.0}
    loop, branch = control_times(found, us, calls)
    assert (loop.executed, loop.depth, loop.exclusive_us, loop.inclusive_us) == (place["/loop/Loop"], 0, 10.0, 72.0)
    assert loop.iterations == {"body": 5.0}
    assert (branch.depth, branch.exclusive_us, branch.inclusive_us) == (1, 5.0, 12.0)
    assert branch.iterations == {"then_branch": 5.0, "else_branch": 0.0}


def test_a_running_loop_counts_each_microsecond_once() -> None:
    run = profile(control_flow(), threads=1, warmup=1, steps=3)
    loop, branch = run.summary()["control_flow"]
    assert (loop["op_type"], loop["depth"], loop["calls"], loop["iterations"]) == ("Loop", 0, 1, {"body": 5})
    assert (branch["op_type"], branch["depth"], branch["calls"]) == ("If", 1, 5)
    assert loop["inclusive_us"] >= loop["exclusive_us"] + branch["inclusive_us"]
    rows = run.nodes.set_index("name")
    assert rows.loc["/loop/MatMul", "calls"] == 5
    assert run.by_op()["us"].sum() == pytest.approx(run.node_time_us)
    assert (run.steps["node_us"] <= run.steps["run_us"]).all()


def recurrent() -> Graph:
    """A bidirectional LSTM between transposes, and a classifier."""
    constants = {
        "w": normal(2, 16, 3),
        "r": normal(2, 16, 4),
        "b": normal(2, 32),
        "k": normal(8, 5),
        "s": np.array([6, 2, 8]),
    }
    nodes = [
        op("Transpose", "x", "t", "/lstm/Transpose", perm=[1, 0, 2]),
        op("LSTM", "t w r b", "h", "/lstm/LSTM", hidden_size=4, direction="bidirectional"),
        op("Transpose", "h", "u", "/lstm/Transpose_1", perm=[0, 2, 1, 3]),
        op("Reshape", "u s", "v", "/lstm/Reshape"),
        op("MatMul", "v k", "y", "/head/MatMul"),
    ]
    return from_model(model(nodes, {"x": (FLOAT, (2, 6, 3))}, {"y": (FLOAT, (6, 2, 5))}, constants), "recurrent")


@pytest.mark.parametrize("level", OPTIMIZATIONS)
def test_recurrent_networks_map_node_by_node(level: Optimization, tmp_path: Path) -> None:
    graph = recurrent()
    found = attribute(graph, optimize(graph, level, tmp_path))
    check(found)
    rows = table(found)
    assert rows["/lstm/LSTM"] == ("attributed", ("/lstm/LSTM",))
    assert {kind for kind, _ in rows.values()} <= {"attributed", "charged"}
    owned = {name for kind, names in rows.values() if kind == "attributed" for name in names}
    assert owned == {n.name for n in graph.model.graph.node}


def test_a_function_that_calls_itself_is_refused() -> None:
    made = with_functions()
    made.functions[0].node.append(op("Outer", "b b", "again", "loop", domain="my"))
    with pytest.raises(GraphError, match="calls itself"):
        without_functions(made)


def attention() -> Graph:
    """Self-attention of two heads, PyTorch's nodes: projections, scores, weights, mixture."""
    constants = {f"w{n}": normal(8, 8) for n in "qkv"} | {f"b{n}": normal(8) for n in "qkv"}
    constants |= {"heads": np.array([2, 4, 2, 4]), "flat": np.array([2, 4, 8]), "root": np.float32(2)}
    nodes = []
    for name in "qkv":
        nodes += [
            op("MatMul", f"x w{name}", f"{name}.m", f"/{name}/MatMul"),
            op("Add", f"{name}.m b{name}", f"{name}.a", f"/{name}/Add"),
            op("Reshape", f"{name}.a heads", f"{name}.r", f"/{name}/Reshape"),
            op(
                "Transpose",
                f"{name}.r",
                f"{name}.t",
                f"/{name}/Transpose",
                perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3],
            ),
        ]
    nodes += [
        op("MatMul", "q.t k.t", "scores", "/scores"),
        op("Div", "scores root", "scaled", "/scale"),
        op("Softmax", "scaled", "weights", "/softmax", axis=-1),
        op("MatMul", "weights v.t", "mixed", "/mix"),
        op("Transpose", "mixed", "back", "/back", perm=[0, 2, 1, 3]),
        op("Reshape", "back flat", "together", "/together"),
        op("Relu", "together", "y", "/out"),
    ]
    return from_model(model(nodes, {"x": (FLOAT, (2, 4, 8))}, {"y": (FLOAT, (2, 4, 8))}, constants), "attention")


def test_one_attention_node_stands_for_all_that_it_swallowed() -> None:
    """Written down: whether onnxruntime makes this fusion depends on what ran before it."""
    graph = attention()
    nodes = [
        helper.make_node(
            "Attention", ["x", "w", "b"], ["together"], "Attention_0", domain="com.microsoft", num_heads=2
        ),
        op("Relu", "together", "y", "/out"),
    ]
    constants = {"w": normal(8, 24), "b": normal(24)}
    executed = model(nodes, {"x": (FLOAT, (2, 4, 8))}, {"y": (FLOAT, (2, 4, 8))}, constants, infer=False)
    found = attribute(graph, executed)
    check(found)
    (kind, names), out = table(found).values()
    assert out == ("attributed", ("/out",))
    swallowed = {n.name for n in graph.model.graph.node} - {"/out"}
    assert kind == "attributed"
    assert set(names) >= {n for n in swallowed if not n.endswith(("/back", "/together"))}
    weights = {found.originals[s.original].node.name: s.weight for s in found.nodes[0].shares}
    # multiply-accumulates: a projection takes 2 x 4 x 8 x 8, scores and mixture 2 x 2 x 4 x 4 x 4 each
    assert weights["/q/MatMul"] == pytest.approx(weights["/v/MatMul"])
    assert weights["/q/MatMul"] / weights["/scores"] == pytest.approx(512 / 256)
    assert weights["/q/Transpose"] == 0


@pytest.mark.parametrize("make", [encoder_layer, quantized_cnn, recurrent])
def test_what_names_hold_to_be_equal_has_equal_values(make: Callable[[], Graph], tmp_path: Path) -> None:
    graph = make()
    executed = optimize(graph, "all", tmp_path)
    pairs = Matching(graph, executed).anchored()
    feeds = {t.name: normal(*(t.shape or ())) for t in graph.inputs}
    mine = fingerprints(executed, list(pairs), feeds, folder=tmp_path)
    theirs = fingerprints(graph.model, list(set(pairs.values())), feeds)
    assert len(pairs) >= len(executed.graph.node) - 1  # a reshape of the input is no tensor that the original makes
    for here, there in pairs.items():
        assert mine[here].matches(theirs[there], 0.02), (here, there)
