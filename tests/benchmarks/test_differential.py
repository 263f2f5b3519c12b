"""Differential tests: two graphs that are the same, and planted faults that are found."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fathom_onnx.graph import Graph
from support.graphs.small_models import FLOAT, model, op
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
