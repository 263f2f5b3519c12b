"""A user's own step by the Python interface: exported, stored, run; exact values of a closed formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fathom_onnx
from fathom_onnx.data import batches_for_graph, run_batches, source_for_graph
from fathom_onnx.errors import FathomError
from support.fakes.fake_framework import Curve, Descent, Line, Tensor, batch, install
from support.paths import ROOT


@pytest.fixture(autouse=True)
def framework(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def made(model: Any = None, given: Any = None, **options: Any) -> fathom_onnx.Graph:
    return fathom_onnx.export_step(model or Line(), batch() if given is None else given, None, Descent(), **options)


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(FathomError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_step_has_the_values_of_the_formula():
    # w = 2, x = (1, 2), y = 0: loss = 4 + 16; gradient 2 (2 + 8) = 20; w.next = 2 - 20 / 8
    result = fathom_onnx.run_step(made())
    assert {name: value.tolist() for name, value in result.items()} == {"loss": 20.0, "line.w.next": -0.5}


@pytest.mark.parametrize(
    ("given", "loss", "new"),
    [
        ((Tensor([1, 1]), Tensor([0, 2])), 4.0, 1.5),  # d = (2, 0)
        ([np.ones(2), np.array([0, 2])], 4.0, 1.5),
        ({"x": np.ones(2, np.float32), "y": Tensor([0, 2])}, 4.0, 1.5),
        (None, 20.0, -0.5),
    ],
)
def test_batches_are_given_in_their_own_structure_or_by_name(given: Any, loss: float, new: float):
    result = fathom_onnx.run_step(made(), given)
    assert (result["loss"], result["line.w.next"]) == (loss, new)


def test_a_nested_batch_is_taken_apart_as_the_example_was():
    nested = {"data": {"image": Tensor([1, 2])}, "labels": [Tensor([0, 0]), 7]}
    graph = made(given=nested)
    other = {"labels": [np.array([0, 2]), 7], "data": {"image": np.ones(2)}}  # in another order
    assert fathom_onnx.run_step(graph, other)["loss"] == 4.0


def test_values_are_replaced_and_steps_follow_each_other():
    graph = made()
    assert fathom_onnx.run_step(graph, values={"line.w": 1.0})["loss"] == 5.0
    first = fathom_onnx.run_step(graph)
    assert fathom_onnx.run_step(graph, values=first)["loss"] == 0.25 * 5  # from w = -0.5
    assert fathom_onnx.train(graph, 2).losses == [20.0, 1.25]


def test_an_inference_graph_gives_its_outputs():
    graph = made(mode="inference")
    assert fathom_onnx.run_step(graph)["output"].tolist() == [2.0, 4.0]
    assert fathom_onnx.run_step(graph, (np.array([3.0, 4.0]), np.zeros(2)))["output"].tolist() == [6.0, 8.0]
    assert fathom_onnx.run_step(graph, np.array([3.0, 4.0]))["output"].tolist() == [6.0, 8.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((np.ones(2),), "the batch has 1 tensor, and the graph takes 2; give values for x, y"),
        ((np.ones(2), np.ones(2), np.ones(2)), "unknown part of the batch '2'"),
        ((np.ones(3), np.ones(2)), "input 'x' is of shape [2], not [3]; give values of that shape"),
        ((np.ones(2), np.ones((2, 1))), "input 'y' is of shape [2], not [2, 1]"),
        ({"x": np.ones(2)}, "the batch has no 'y'; give values for x, y"),
        ({"z": np.ones(2), "y": np.ones(2)}, "the batch has no"),
        ((), "the batch has 0 tensors, and the graph takes 2"),
        (3.0, "the batch has 0 tensors, and the graph takes 2"),
        ((np.array(["a", "b"]), np.ones(2)), "the graph takes float32"),
        ({"x": object(), "y": np.ones(2)}, "input 'x'"),
    ],
)
def test_batches_that_do_not_fit_are_refused_in_one_line(given: Any, said: str):
    assert said in refused(fathom_onnx.run_step, made(), given)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"line.v": 1.0}, "unknown variable 'line.v'; did you mean 'line.w'?"),
        ({"line.w": np.ones(2)}, "variable 'line.w' is of shape [], not [2]"),
        ({"line.w": "one"}, "variable 'line.w' is <U3, and the graph takes float32"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(values: Any, said: str):
    assert said in refused(fathom_onnx.run_step, made(), values=values)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((Line, batch()), {}, "the model is the class Line itself; make one: Line(...)"),
        ((object(), batch()), {}, "no framework takes a model of class object; give one whose class is derived from"),
        ((None, batch()), {}, "no framework takes a model of class NoneType"),
        ((Line(), batch(), 3), {}, "the loss is of type int, not a function"),
        ((Line(), batch(), None, None), {}, "a training step needs an optimizer"),
        ((Line(), batch(), None, Descent()), {"accumulate": 0}, "a batch cannot be cut into 0 parts"),
        ((Line(), batch(), None, Descent()), {"accumulate": 1.5}, "a batch cannot be cut into 1.5 parts"),
        ((Line(), batch(), None, Descent()), {"mode": "train"}, "unknown mode 'train'; did you mean 'training'?"),
        ((Line(), batch(), None, Descent()), {"purpose": "gpu"}, "unknown purpose 'gpu'"),
        ((Line(), batch(), None, Descent()), {"noise": "inputs"}, "unknown source of noise 'inputs'"),
        ((Line(lacking=1), batch(), None, Descent()), {}, "fakenet cannot export line (training): RuntimeError: fake"),
        (
            (Line(), (1, 2), None, Descent()),
            {},
            "fakenet cannot read the step of Line at tests/support/fakes/fake_framework.py:",
        ),
    ],
)
def test_recipes_that_cannot_work_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: Any, options: Any, said: str
):
    monkeypatch.chdir(ROOT)
    assert said in refused(fathom_onnx.export_step, *arguments, **options)


def test_values_lie_beside_the_graph_and_belong_to_it(tmp_path: Path):
    graph = made(path=tmp_path / "step.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"step.onnx", "values.safetensors"}
    assert {n: v.tolist() for n, v in graph.stored_values.items()} == {"line.w": 2.0, "x": [1.0, 2.0], "y": [0.0, 0.0]}
    assert graph.metadata is not None
    assert (graph.metadata.workload, graph.metadata.values) == ("line", "values.safetensors")
    again = fathom_onnx.load(tmp_path / "step.onnx")
    assert fathom_onnx.run_step(again)["loss"] == 20.0


def test_two_graphs_of_a_folder_have_values_of_their_own(tmp_path: Path):
    first, second = made(path=tmp_path / "a.onnx"), made(Curve(1.0), path=tmp_path / "b.onnx")
    assert {p.name for p in tmp_path.glob("*.safetensors")} == {"values.safetensors", "b.values.safetensors"}
    assert (fathom_onnx.run_step(first)["loss"], fathom_onnx.run_step(second)["loss"]) == (20.0, 5.0)
    made(Line(3.0), path=tmp_path / "a.onnx")
    assert len(list(tmp_path.iterdir())) == 4
    assert fathom_onnx.run_step(fathom_onnx.load(tmp_path / "a.onnx"))["loss"] == 45.0


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_values_that_are_missing_or_anothers_are_refused(tmp_path: Path, damage: str):
    made(path=tmp_path / "a.onnx")
    values = tmp_path / "values.safetensors"
    if damage == "missing":
        values.unlink()
    else:
        made(Line(3.0), path=tmp_path / "other" / "a.onnx")
        (tmp_path / "other" / "values.safetensors").replace(values)
    graph = fathom_onnx.load(tmp_path / "a.onnx")
    said = "are not beside it" if damage == "missing" else "does not hold the values of this graph"
    for call in (fathom_onnx.run_step, fathom_onnx.profile):
        assert said in refused(call, graph)


def test_a_step_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "cannot make folder" in refused(made, path=tmp_path / "file" / "a.onnx")
    (tmp_path / "a.onnx").mkdir()
    assert "cannot write" in refused(made, path=tmp_path / "a.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "a.onnx"}


def test_a_model_without_weights_is_run_with_stand_ins(tmp_path: Path):
    graph = made(Line(fake=True), path=tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert source_for_graph(graph).name == "synthetic"
    _, facts = run_batches(graph, None, 0, 1)
    assert facts["inputs"].keys() == {"x", "y"}
    assert fathom_onnx.run_step(graph, (np.ones(2), np.zeros(2)))["loss"] == 2.0  # a scalar stands in by 1


def test_noise_as_an_input_is_drawn_from_its_distribution_or_given():
    graph = made(Line(noisy=True), noise="input")
    drawn = [next(batches_for_graph(graph, seed))["noise"] for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).all()
    assert all(0 <= value < 1 for value in drawn[0])
    given = {"x": np.array([1, 2]), "y": np.zeros(2), "noise": np.array([1.0, 0.0])}
    assert fathom_onnx.run_step(graph, given)["loss"] == 4.0
    # without it, drawn as for the example
    expected = float((4 * (np.array([1, 2]) * drawn[2]) ** 2).sum())
    assert fathom_onnx.run_step(graph, (np.array([1, 2]), np.zeros(2)), seed=1)["loss"] == pytest.approx(expected)


def test_a_recipes_graph_is_profiled_with_its_example():
    run = fathom_onnx.profile(made(), steps=2, warmup=0)
    assert run.manifest["data"]["source"] == "example"
    assert set(run.summary()["by_phase"][0]) >= {"name", "us"}
    assert run.manifest["workload"] == "line"
