"""Faults of onnx's inference of shapes: the lists of them are whole, and no reader of a graph meets them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fathom_onnx.graph import from_model
from fathom_onnx.graph.loading.faults import NEEDS_TYPES
from fathom_onnx.graph.loading.inference import inferred
from support.graphs.small_models import BOOL, FLOAT, op
from support.graphs.small_models import model as small_model
from support.paths import ROOT

DOUBLE = TensorProto.DOUBLE


def eye(source: str, output: str, name: str = "") -> onnx.NodeProto:
    return op("EyeLike", source, output, name, dtype=DOUBLE)


def model(*nodes: onnx.NodeProto, functions: list[onnx.FunctionProto] | None = None) -> onnx.ModelProto:
    """From a matrix x (2, 3); mine.Mine is an operator of nobody."""
    infos = [helper.make_tensor_value_info("x", FLOAT, [2, 3]), helper.make_tensor_value_info("c", BOOL, [])]
    graph = helper.make_graph(list(nodes), "g", infos, [helper.make_tensor_value_info("y", DOUBLE, None)])
    imports = [helper.make_opsetid("", 22), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions or [])


def sizes(of: onnx.GraphProto) -> dict[str, list[int]]:
    """The shapes that are known of tensors."""
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*of.value_info, *of.output]
        if value.type.tensor_type.HasField("shape")
    }


def mine(source: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Mine", [source], [output], domain="mine")


def test_the_operators_at_which_inference_crashes_are_all_known() -> None:
    """All versions of all operators of the installed onnx, in processes that may crash."""
    script = ROOT / "tests" / "support" / "crashing_inference.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    crashing = {tuple(line.split(" ")) for line in done.stdout.splitlines()}
    untyped = {(domain, name, given) for domain, name in NEEDS_TYPES for given in ("unknown", "omitted")}
    assert crashing == untyped | {("", "Split", "image"), ("", "Split", "matrix")}


@pytest.mark.parametrize("strict", [False, True])
def test_behind_an_operator_of_nobody_nothing_is_known(strict: bool) -> None:
    given = model(mine("x", "t"), eye("t", "u"), op("Identity", "u", "y"), op("Relu", "x", "z"))
    kept = given.SerializeToString()
    made = inferred(given, strict=strict)
    assert given.SerializeToString() == kept
    assert sizes(made.graph) == {"z": [2, 3]}
    assert [node.domain for node in made.graph.node] == ["mine", "", "", ""]
    assert list(made.opset_import) == list(given.opset_import)


def test_where_inputs_are_known_all_is_inferred() -> None:
    """Also one behind another, beside one of which nothing can be known."""
    made = inferred(model(mine("x", "t"), eye("t", "u"), eye("x", "a"), eye("a", "b"), op("Identity", "b", "y")))
    assert sizes(made.graph) == {"a": [2, 3], "b": [2, 3], "y": [2, 3]}


def test_behind_a_contradiction() -> None:
    """Matrices that cannot be added."""
    made = inferred(model(op("Transpose", "x", "t"), op("Add", "x t", "s"), eye("s", "y")))
    assert sizes(made.graph) == {"t": [3, 2]}


def test_in_a_body_and_in_a_function() -> None:
    def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("r", DOUBLE, None)])

    choice = op("If", "c", "y", then_branch=branch(mine("x", "t"), eye("t", "r")), else_branch=branch(eye("x", "r")))
    made = {a.name: a.g for a in inferred(model(choice)).graph.node[0].attribute}
    assert {name: sizes(part) for name, part in made.items()} == {"then_branch": {}, "else_branch": {"r": [2, 3]}}
    assert [node.domain for part in made.values() for node in part.node] == ["", "mine", ""]
    imports = [helper.make_opsetid("", 22), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Whole", ["p"], ["q"], [mine("p", "t"), eye("t", "q")], imports)
    called = inferred(model(helper.make_node("Whole", ["x"], ["y"], domain="mine"), functions=[function]))
    assert [node.domain for node in called.functions[0].node] == ["mine", ""]
    assert list(called.functions[0].opset_import) == imports


def test_a_split_in_no_parts_is_no_crash() -> None:
    split = op("Split", "x", "y", axis=0, num_outputs=0)
    assert sizes(inferred(model(split)).graph) == {}


@pytest.mark.parametrize("equation", [b"-aa", b"aa-", b"a.a", b"aa1", b"a\x97a", b"a>a", b"aa..,"])
def test_an_equation_that_is_none_has_an_end(equation: bytes) -> None:
    """onnx would go on for ever with most of these."""
    einsum = op("Einsum", "x", "y")
    einsum.attribute.append(onnx.AttributeProto(name="equation", type=onnx.AttributeProto.STRING, s=equation))
    assert sizes(inferred(model(einsum)).graph) == {}


@pytest.mark.parametrize(
    ("equation", "shape"), [("ab -> ba", [3, 2]), ("a...", [3, 2]), ("...b->...", [2]), ("ab->", [])]
)
def test_other_equations_are_inferred(equation: str, shape: list[int]) -> None:
    assert sizes(inferred(model(op("Einsum", "x", "z", equation=equation))).graph) == {"z": shape}


def test_a_strangers_graph_is_read() -> None:
    graph = from_model(model(mine("x", "t"), eye("t", "y")), "stranger")
    assert graph.tensors["y"].shape is None


def test_half_of_a_spectrum_is_the_default() -> None:
    """128 samples in windows of 16, a window each 8."""
    nodes = [op("STFT", "signal step window", "y"), op("STFT", "signal step window", "z", onesided=0)]
    given = small_model(
        nodes,
        {"signal": (FLOAT, (1, 128, 1))},
        {"y": (FLOAT, None), "z": (FLOAT, None)},
        {"step": np.array(8), "window": np.ones(16, np.float32)},
        infer=False,
    )
    made = inferred(given)
    assert sizes(made.graph) == {"y": [1, 15, 9, 2], "z": [1, 15, 16, 2]}
    assert not made.graph.node[0].attribute


def test_a_negative_size_is_not_known_or_a_contradiction() -> None:
    """A filter of 16 rows on an image of 3."""
    shapes = {"x": (FLOAT, (1, 1, 3, 3)), "w": (FLOAT, (1, 1, 16, 2))}
    given = small_model([op("Conv", "x w", "t"), op("Relu", "t", "y")], shapes, {"y": (FLOAT, None)}, infer=False)
    assert from_model(given, "large filter").tensors["y"].shape is None
    with pytest.raises(onnx.shape_inference.InferenceError, match="tensor 't' would have a dimension of -12"):
        inferred(given, strict=True)


def test_a_map_over_what_is_not_known_stays_one() -> None:
    """onnx's inliner ends the process, or fails, at a SequenceMap over a tensor without a type."""
    of = [helper.make_tensor_value_info(name, FLOAT, ["N"]) for name in ("a", "b")]
    body = helper.make_graph([op("Relu", "a", "b")], "body", of[:1], of[1:])

    def kinds(*nodes: onnx.NodeProto) -> list[str]:
        return [node.op_type for node in from_model(model(*nodes, eye("x", "y")), "mapped").model.graph.node]

    over = op("SequenceConstruct", "x", "s")
    loop = ["SequenceLength", "Constant", "SequenceEmpty", "Loop"]
    assert kinds(mine("x", "s"), op("SequenceMap", "s", "o", body=body)) == ["Mine", "SequenceMap", "EyeLike"]
    assert kinds(over, op("SequenceMap", "s", "o", body=body)) == ["SequenceConstruct", *loop, "EyeLike"]
    beside = kinds(mine("x", "t"), eye("t", "e"), over, op("SequenceMap", "s", "o", body=body))
    assert beside == ["Mine", "EyeLike", "SequenceConstruct", *loop, "EyeLike"]
