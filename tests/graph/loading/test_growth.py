"""What inference would hold: never told to be less than it is, and bounded where a small file would take all memory."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.defs
import pytest
from onnx import helper

from fathom_onnx.errors import GraphError
from fathom_onnx.graph import load_structure
from fathom_onnx.graph.bodies import all_graphs
from fathom_onnx.graph.loading import inference
from fathom_onnx.graph.loading.growth import FOLLOWED, held_by_inference
from fathom_onnx.graph.loading.inference import inferred
from fathom_onnx.graph.loading.limits import DEEPEST_CALLS, LARGEST_WRITTEN_OUT, refuse_endless
from support.graphs.small_models import FLOAT, INT64, model, op
from support.hostile import function_bomb, plain
from support.paths import ROOT


def gathers(times: int) -> onnx.ModelProto:
    """A tensor of rank 2 that is gathered by itself some times: of rank 2^times + 1."""
    nodes = [op("Gather", f"t{n} t{n}", f"t{n + 1}") for n in range(times)]
    return model(nodes, {"t0": (INT64, (1, 1))}, {f"t{times}": (INT64, None)}, infer=False)


def concats(times: int) -> onnx.ModelProto:
    """A list of two sizes that is joined to itself some times: of 2^(times + 1)."""
    nodes = [op("Shape", "x", "t0"), *(op("Concat", f"t{n} t{n}", f"t{n + 1}", axis=0) for n in range(times))]
    return model(nodes, {"x": (FLOAT, (1, 1))}, {f"t{times}": (INT64, None)}, infer=False)


def steps(step: int) -> onnx.ModelProto:
    """A list of two sizes of which one is taken in steps."""
    nodes = [op("Shape", "x", "s"), op("Slice", "s zero two zero step", "y")]
    lists = {"zero": [0], "two": [2], "step": [step]}
    constants = {name: np.array(value, np.int64) for name, value in lists.items()}
    return model(nodes, {"x": (FLOAT, (1, 1))}, {"y": (INT64, None)}, constants, infer=False)


def adds(length: int) -> onnx.ModelProto:
    """A tensor with one axis that is added to itself, and again."""
    nodes = [op("Add", "x x", "t"), op("Add", "t x", "u"), op("NonZero", "u", "y")]
    return model(nodes, {"x": (FLOAT, (length,))}, {"y": (INT64, None)}, infer=False)


def splits(parts: int) -> onnx.ModelProto:
    """A tensor that is split into two parts, and says that it is into more."""
    nodes = [op("Split", "x", "y z", num_outputs=parts)]
    return model(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, None), "z": (FLOAT, None)}, infer=False)


def test_what_is_held_by_hand() -> None:
    assert held(gathers(3), follow=False) == 2 + 3 + 5 + 9
    assert held(concats(3), follow=False) == 2 + 4 * 1
    assert held(concats(3), follow=True) == 2 + 4 * 1 + 2 + (4 + 4) + (8 + 8) + (16 + 16)
    assert held(steps(1), follow=True) == 2 + 2 * 1 + 2 + (2 + 1 + 1 + 1 + 1) + 2
    assert held(steps(2**32), follow=True) == math.inf
    assert held_by_inference(splits(10**9), follow=False) > 10**9
    assert held(adds(10**9), follow=True) == 3 * 1 + 4 + 2 * (2 * 10**9 + 10**9)


def held(made: onnx.ModelProto, *, follow: bool) -> float:
    """As it is told of a model whose shapes have been inferred without following."""
    return held_by_inference(onnx.shape_inference.infer_shapes(made), follow=follow)


def test_ranks_that_come_and_go_do_not_grow() -> None:
    """An axis is added and taken away a thousand times, by lists and by attributes, and once by an element."""
    for node in (op("Squeeze", "u axis", "t"), op("Gather", "u zero", "t", axis=0)):
        nodes = []
        for n in range(1000):
            for one, before, after in ((op("Unsqueeze", "t axis", "u"), n, n), (node, n, n + 1)):
                made = onnx.NodeProto()
                made.CopyFrom(one)
                made.input[0], made.output[0] = f"{one.input[0]}{before}", f"{one.output[0]}{after}"
                nodes.append(made)
        constants = {"axis": np.array([0], np.int64), "zero": np.array(0, np.int64)}
        made = model(nodes, {"t0": (FLOAT, (3,))}, {"t1000": (FLOAT, None)}, constants, infer=False)
        assert held_by_inference(made, follow=False) == 1 + 1000 * (2 + 1)


def test_all_that_onnx_follows_is_known() -> None:
    schemas = onnx.defs.get_all_schemas_with_history()
    assert {s.name for s in schemas if s.domain == "" and s.has_data_propagation_function} == set(FOLLOWED)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_held_that_was_not_told() -> None:
    """Shapes of onnx's operator tests, and of what they are made of."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from fuzz import seeds

    models = [onnx.load_model_from_string(data) for data in seeds.graphs()]
    for made in models:
        if made.functions:
            continue
        found = onnx.shape_inference.infer_shapes(made)
        parts = list(all_graphs(found.graph))
        ranks = {v.name: rank_of(v.type) for g in parts for v in [*g.input, *g.value_info, *g.output]}
        named = {n for g in parts for n in [*(i.name for i in g.input), *(o for node in g.node for o in node.output)]}
        assert held_by_inference(made, follow=False) >= sum(r for n, r in ranks.items() if n in named)
    assert len(models) > 1500


def rank_of(kind: onnx.TypeProto) -> int:
    return len(kind.tensor_type.shape.dim)


@pytest.mark.slow
@pytest.mark.parametrize("bomb", [gathers(60), splits(2**40)], ids=["rank", "split"])
def test_what_takes_too_much_is_refused_and_takes_it_nowhere_else(
    bomb: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "MOST_BYTES", 2**27)
    with pytest.raises(ValueError, match=r"its shapes take more than 0.134218 GB or 60 s to infer"):
        inferred(bomb)


def opened(made: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a tensor whose size depends on values, so that following may have something to find."""
    made.graph.node.append(op("NonZero", made.graph.input[0].name, "places"))
    made.graph.output.append(helper.make_tensor_value_info("places", INT64, None))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("bomb", [concats(40), steps(2**32), adds(10**9)], ids=["list", "step", "length"])
def test_lists_without_end_are_not_followed(bomb: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they say of shapes is open then, and nothing else is."""
    monkeypatch.setattr(inference, "MOST_BYTES", 2**27)
    with pytest.raises(ValueError, match="to infer"):
        inferred(opened(bomb))
    result = inferred(opened(bomb), follow=False).graph.output[0].type.tensor_type
    assert result.HasField("shape")


def test_nothing_is_followed_where_nothing_is_open() -> None:
    for made in (concats(40), steps(2**32)):
        assert inferred(made).graph.output[0].type.tensor_type.shape.dim[0].HasField("dim_value")


@pytest.mark.slow
def test_inference_in_another_process_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = model([op("MatMul", "x x", "y")], {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, None)}, infer=False)
    right = concats(3)
    here = inferred(right)
    monkeypatch.setattr(inference, "_MOST_HELD", -1)
    assert inferred(right).SerializeToString(deterministic=True) == here.SerializeToString(deterministic=True)
    with pytest.raises(onnx.shape_inference.InferenceError, match="Incompatible dimensions"):
        inferred(wrong, strict=True)


def test_functions_that_stand_for_much_are_refused() -> None:
    """A constant in a function that is called often; functions that call one another in a row."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    held = op("Constant", "", "c", value=onnx.numpy_helper.from_array(np.zeros(2**16, np.float32)))
    function = helper.make_function("own", "f", ["a"], ["b"], [held, op("Add", "a c", "b")], imports)
    calls = [
        helper.make_node("f", [f"t{n}"], [f"t{n + 1}"], domain="own") for n in range(1 + LARGEST_WRITTEN_OUT // 2**18)
    ]
    graph = helper.make_graph(calls, "g", [helper.make_tensor_value_info("t0", FLOAT, [2**16])], [])
    with pytest.raises(GraphError, match=r"stand for [\d,]+ bytes of nodes, more than 268,435,456"):
        refuse_endless(helper.make_model(graph, functions=[function], opset_imports=imports), "g")
    row = function_bomb(DEEPEST_CALLS + 1)
    for each in row.functions:
        del each.node[1:]
        each.output[0] = each.node[0].output[0]
    with pytest.raises(GraphError, match="call each other 101 times in a row, more than 100"):
        refuse_endless(row, "g")


def test_what_an_honest_graph_has_is_inferred_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inference.subprocess, "run", lambda *_, **__: pytest.fail("another process"))
    path = tmp_path / "g.onnx"
    onnx.save(plain(), path)
    assert load_structure(path).outputs[0].shape == (2, 2)


_RANGE = """
import resource
import subprocess
import sys
import onnx
from fathom_onnx.graph.loading.contrib_shapes import shapes_by_onnxruntime
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(places,) = shapes_by_onnxruntime(onnx.load(sys.argv[1]), ["places"])
assert places.name == "places"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_onnxruntime_computes_no_large_constants_when_it_is_asked_for_shapes(tmp_path: Path) -> None:
    """A range of 400 MB, which depends on constants alone."""
    nodes = [op("Mul", "n one", "end"), op("Range", "zero end one", "r")]
    constants = {name: np.array(value, np.int64) for name, value in (("n", 50_000_000), ("one", 1), ("zero", 0))}
    made = opened(model(nodes, {"x": (FLOAT, (4,))}, {"r": (INT64, None)}, constants, infer=False))
    onnx.save(made, tmp_path / "range.onnx")
    command = [sys.executable, "-c", _RANGE, tmp_path / "range.onnx"]
    assert int(subprocess.run(command, capture_output=True, check=True, text=True).stdout) < 150_000  # kB
