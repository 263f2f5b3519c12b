"""Differential tests: two graphs that are the same, and planted faults that are found."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fathom_onnx.graph import Graph
from support.graphs.small_models import FLOAT, INT64, model, op
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from differential import judging, rewritings
from differential.cases import Case
from differential.judging import judged, straight
from differential.rewritings import REWRITINGS, Subject


def case() -> Case:
    """A product and a ReLU; the nodes stand in the wrong order, which onnxruntime and we sort."""
    nodes = [op("Relu", "h", "y"), op("MatMul", "x w", "h")]
    shapes = {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}
    made = model(nodes, shapes, {"y": (FLOAT, (2, 4))}, infer=False)
    rng = np.random.default_rng(0)
    return Case("two", made, [rng.normal(size=shape).astype(np.float32) for _, shape in shapes.values()])


def subject(folder: Path, of: Case) -> Subject:
    expected = straight(of)
    assert expected is not None
    assert list(expected) == ["none", "basic", "extended", "all"]
    graph, found = judged(of, expected, folder)
    assert graph is not None
    assert not found
    return Subject(of, graph, expected, folder, lambda text: None, random.Random(1))


def batched() -> Case:
    """The weights are a constant, so that all inputs begin with the batch."""
    of = case()
    made = onnx.ModelProto()
    made.CopyFrom(of.model)
    made.graph.initializer.append(onnx.numpy_helper.from_array(of.inputs[1], "w"))
    del made.graph.input[1:]
    return Case("batched", made, of.inputs[:1])


@pytest.mark.parametrize("name", ["overlay", "bound", "batch", "products"])
def test_a_rewriting_is_tried_and_nothing_differs(name: str, tmp_path: Path) -> None:
    assert REWRITINGS[name](subject(tmp_path, batched() if name == "batch" else case())) == []


def test_a_wrong_output_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bit of one element of what we give."""
    of = case()
    expected = straight(of)
    assert expected is not None
    true = judging.made_by_us

    def planted(*given: Any) -> list[Any]:
        (y,) = true(*given)
        y = y.copy()
        y.flat[np.argmax(y)] = np.nextafter(y.max(), np.float32(9))
        return [y]

    monkeypatch.setattr(judging, "made_by_us", planted)
    _, found = judged(of, expected, tmp_path)
    assert [line.split(":")[0] for line in found] == ["our way gives other outputs"] * 4


def opened() -> Case:
    """A tensor whose shape only its values say."""
    nodes = [op("Reshape", "x shape", "h"), op("Relu", "h", "y")]
    made = model(nodes, {"x": (FLOAT, (2, 3)), "shape": (INT64, (2,))}, {"y": (FLOAT, (3, 2))}, infer=False)
    return Case("opened", made, [np.ones((2, 3), np.float32), np.array([3, 2])])


def test_the_shapes_that_tensors_have_are_told_by_a_run() -> None:
    of = opened()
    (told,) = judging._shaped(of.model, of.fed).graph.value_info
    assert (told.name, [dim.dim_value for dim in told.type.tensor_type.shape.dim]) == ("h", [3, 2])


@pytest.mark.parametrize("fused", [True, False])
def test_outputs_may_be_those_of_the_model_with_its_shapes(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime gives other bits with the shapes, and we give these, or others still."""
    of = opened()
    true = judging.in_onnxruntime

    def with_shapes(given: onnx.ModelProto, *rest: Any) -> list[Any]:
        return [y + np.float32(1e-7) * len(given.graph.value_info) for y in true(given, *rest)]

    monkeypatch.setattr(judging, "in_onnxruntime", with_shapes)
    expected = with_shapes(of.model, of.fed, "all")
    ours = [y + np.float32(1e-7 if fused else 2e-7) for y in expected]
    found = judging.different_with_shapes("our way", "all", ["y"], lambda: ours, expected, of, of.model)
    assert bool(found) is not fused


def test_a_determinant_is_no_product_for_simulators(tmp_path: Path) -> None:
    nodes = [op("Det", "a", "d"), op("MatMul", "x w", "h"), op("Add", "h d", "y")]
    shapes = {"a": (FLOAT, (2, 2)), "x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype(np.float32) for _, shape in shapes.values()]
    of = subject(tmp_path, Case("determinant", model(nodes, shapes, {"y": (FLOAT, (2, 4))}, infer=False), values))
    assert judging.counted(of.graph)["macs"] == 24 + 1
    assert REWRITINGS["products"](of) == []


def test_a_wrong_shape_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = case()
    expected = straight(of)
    assert expected is not None
    true = judging.load

    def planted(*given: Any) -> Graph:
        graph = true(*given)
        graph.tensors["y"] = replace(graph.tensors["y"], shape=(2, 5))
        return graph

    monkeypatch.setattr(judging, "load", planted)
    _, found = judged(of, expected, tmp_path)
    assert found[0] == "another shape than it has: y (2, 5) and (2, 4)"


def test_what_onnxruntime_itself_does_not_repeat_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    of = case()
    expected = straight(of)
    assert expected is not None
    assert judging.steady(of, expected)
    true, runs = judging.in_onnxruntime, 0

    def unsteady(*given: Any) -> list[Any]:
        nonlocal runs
        runs += 1
        return [y + (runs == 7) for y in true(*given)]

    monkeypatch.setattr(judging, "in_onnxruntime", unsteady)
    assert not judging.steady(of, expected)


def test_a_wrong_count_is_found(tmp_path: Path) -> None:
    """An overlay's graph that has lost a node, as it would count."""
    of = subject(tmp_path, case())
    lost = onnx.ModelProto()
    lost.CopyFrom(of.graph.model)
    del lost.graph.node[0]
    found = judging.miscounted("planted", Graph(lost, "lost"), of.graph)
    assert len(found) == 1
    assert found[0].startswith("other counts than planted: {'macs': 0,")


def test_a_wrong_conversion_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is not the one asked for, and values that are not those given."""
    true = rewritings._converted

    def planted(of: Subject, to: str, graph: Graph, **options: Any) -> Path | None:
        path = true(of, to, graph, **options)
        assert path is not None
        made = onnx.load(path)
        next(node for node in made.graph.node if node.output[0] == "y").op_type = "Abs"
        onnx.save(made, path)
        return path

    monkeypatch.setattr(rewritings, "_converted", planted)
    for name, of in (("batch", batched()), ("bound", case())):
        found = REWRITINGS[name](subject(tmp_path, of))
        assert found
        assert "gives other outputs" in found[0]
