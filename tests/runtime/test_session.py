"""Sessions, weights, settings, providers and steps."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper

from fathom_onnx.errors import GraphError, MissingDependencyError, RunError, UnknownNameError, UsageError
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.environment import cpu_cores, environment, graph_facts
from fathom_onnx.runtime.prepare import INLINE_BYTES, prepare
from fathom_onnx.runtime.providers import names as providers
from fathom_onnx.runtime.providers.names import check_provider
from fathom_onnx.runtime.settings import LEVELS, OPTIMIZATIONS, SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.training.loop import open_training, train
from support.graphs.small_models import FLOAT, cnn, line_inference, line_training, model, op

CPU = SessionSettings()


def test_settings_refuse_what_cannot_work() -> None:
    with pytest.raises(UsageError, match="threads cannot be 0; give 1 or more"):
        SessionSettings(threads=0)
    with pytest.raises(UnknownNameError, match="unknown provider 'cdua'; did you mean 'cuda'"):
        SessionSettings(ep="cdua")
    with pytest.raises(UnknownNameError, match="unknown optimization level 'ful'"):
        SessionSettings(optimization="ful")  # type: ignore[arg-type]
    assert tuple(LEVELS) == OPTIMIZATIONS


def test_a_missing_onnxruntime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fathom-onnx\[cuda\]'"):
        check_provider("cuda")


def test_a_missing_provider_names_the_extra_and_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        __version__ = "9"

        @staticmethod
        def get_available_providers() -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(providers, "onnxruntime", lambda extra: Fake)
    with pytest.raises(MissingDependencyError, match=r"needs CUDAExecutionProvider.*pip install 'fathom-onnx\[cuda\]'"):
        check_provider("cuda")
    assert check_provider("cpu").full_name == "CPUExecutionProvider"


def test_training_steps_are_exact_and_the_state_ping_pongs() -> None:
    graph = line_training()
    stepper = open_training(graph, CPU)
    w = np.ones(3)
    batches = [{"x": np.array(v, np.float32)} for v in ([1, 2, 3], [0.5, -1, 2], [-2, 1, 0], [1, 1, 1])]
    for number, batch in enumerate(batches, 1):
        d = float(w @ batch["x"])
        seconds = stepper.step(batch)
        assert seconds > 0
        assert stepper.results()["loss"] == pytest.approx(d * d, rel=1e-5)
        w = w - 0.02 * d * batch["x"]
        np.testing.assert_allclose(stepper.state()["line.w"], w, rtol=1e-5)
        assert stepper.state()["step"] == number
    assert set(stepper.results()) == {"loss"}


def test_state_is_handed_out_as_copies_and_the_callers_values_stay() -> None:
    start = np.ones(3, np.float32)
    stepper = open_training(line_training(), CPU, values={"line.w": start})
    before = stepper.state()["line.w"]
    before[:] = 7
    stepper.step({"x": np.ones(3, np.float32)})
    stepper.step({"x": np.ones(3, np.float32)})
    assert (start == 1).all()
    # 1 -> 1 - 0.02 * 3 = 0.94 -> 0.94 - 0.02 * 2.82 = 0.8836
    np.testing.assert_allclose(stepper.state()["line.w"], np.full(3, 0.8836), rtol=1e-5)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "input 'x' is not in the batch"),
        ({"x": np.ones(4, np.float32)}, r"input 'x' must be float32 \[3\], not float32 \[4\]"),
        ({"x": np.ones(3)}, r"input 'x' must be float32 \[3\], not float64 \[3\]"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(RunError, match=message):
        open_training(line_training(), CPU).step(batch)


def test_results_before_a_step_are_refused() -> None:
    with pytest.raises(RunError, match="no step was run"):
        open_training(line_training(), CPU).results()


@pytest.mark.parametrize("outputs", [2, 400])
def test_inference_parameters_become_initializers_small_and_large(outputs: int) -> None:
    graph = line_inference(outputs=outputs)
    values = variable_values(graph, 3)
    prepared = prepare(graph, values)
    assert [i.name for i in prepared.model.graph.input] == ["x"]
    assert {t.name for t in prepared.model.graph.initializer} == {"line.w", "line.b"}
    large = {n for n, v in values.items() if v.nbytes > INLINE_BYTES}
    assert set(prepared.values) == large
    assert bool(large) == (outputs == 400)
    assert prepared.model.ByteSize() < 3000
    stepper = open_stepper(prepared, CPU)
    x = np.array([[1, -2, 0.5]], np.float32)
    stepper.step({"x": x})
    expected = np.maximum(x @ values["line.w"].T + values["line.b"], 0)
    np.testing.assert_allclose(stepper.results()["y"], expected, rtol=1e-5)


def test_large_initializers_of_a_third_party_graph_are_handed_over_beside_it() -> None:
    graph = cnn()
    prepared = prepare(graph)
    assert set(prepared.values) == {"w1", "w2", "w3"}
    x = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    reference = onnx.reference.ReferenceEvaluator(graph.model).run(None, {"x": x})[0]
    for level in OPTIMIZATIONS:
        stepper = open_stepper(prepared, SessionSettings(optimization=level))
        stepper.step({"x": x})
        np.testing.assert_allclose(stepper.results()["y"], reference, rtol=1e-3, atol=1e-4)


def test_a_variable_without_a_value_or_of_another_shape_is_refused() -> None:
    with pytest.raises(GraphError, match=r"'line.w' \(2, 3\) has no value"):
        prepare(line_inference(), {})
    with pytest.raises(GraphError, match=r"a value of shape \(1,\)"):
        prepare(line_inference(), {"line.w": np.ones(1, np.float32)})


def test_random_ops_follow_the_seed() -> None:
    made = model([op("RandomNormal", "", "y", shape=[4])], {}, {"y": (FLOAT, (4,))})
    graph = from_model(made, "noise")

    def draw(seed: int) -> np.ndarray:
        stepper = open_stepper(prepare(graph, seed=seed), CPU)
        stepper.step({})
        return stepper.results()["y"]

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


def test_a_graph_that_onnxruntime_refuses_is_a_run_error() -> None:
    made = model([op("Foo", "x", "y")], {"x": (FLOAT, (1,))}, {"y": (FLOAT, (1,))}, infer=False)
    made.graph.node[0].domain = "nowhere"
    made.opset_import.append(onnx.helper.make_opsetid("nowhere", 1))
    with pytest.raises(RunError, match="cannot build a session on 'cpu'"):
        open_stepper(prepare(from_model(made, "foo")), CPU)


def test_the_environment_holds_the_facts_of_a_run() -> None:
    facts = environment(SessionSettings(threads=2, optimization="basic"), seed=5)
    assert facts["execution_provider"] == "CPUExecutionProvider"
    assert (facts["threads"], facts["optimization_level"], facts["seed"]) == (2, "ORT_ENABLE_BASIC", 5)
    assert all(facts[name] for name in ("onnxruntime", "onnx", "numpy", "python", "os", "cpu", "time_utc"))
    assert facts["cpu_cores"] == cpu_cores() >= 1
    graph = line_training()
    described = graph_facts(graph)
    assert (described["workload"], described["mode"], described["opset"]) == ("line", "training", {"ai.onnx": 18})
    assert described["graph_sha256"] == graph.sha256
    assert graph_facts(cnn())["workload"] is None


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives() -> None:
    try:
        check_provider("cuda")
    except MissingDependencyError as error:
        pytest.skip(str(error))
    batch = {"x": np.array([1, 2, 3], np.float32)}
    runs = [train(line_training(), itertools.repeat(batch), 3, SessionSettings(ep=ep)) for ep in ("cpu", "cuda")]
    losses = [run.losses for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_random_nodes_draw_different_numbers(seed: int) -> None:
    """With onnxruntime's own seed 0, the first two random nodes of a graph draw the same."""
    nodes = [helper.make_node("RandomNormal", [], [name], name, shape=[500]) for name in ("a", "b")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [500]) for name in ("a", "b")]
    made = helper.make_model(
        helper.make_graph(nodes, "g", [], outputs), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    draws = []
    for _ in range(2):
        stepper = open_stepper(prepare(from_model(made, "g"), seed=seed), SessionSettings())
        stepper.step({})
        draws.append(stepper.results())
    np.testing.assert_array_equal(draws[0]["a"], draws[1]["a"])
    assert abs(np.corrcoef(draws[0]["a"], draws[0]["b"])[0, 1]) < 0.2
