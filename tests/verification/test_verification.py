"""Verification passes right graphs, and fails each kind of wrong one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import fathom_onnx.verification.checks as checks
import fathom_onnx.verification.subject as subject
from fathom_onnx.errors import ExportError
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.verification import verify, verify_pair, verify_pairs
from fathom_onnx.verification.compare import change_error, difference, largest, relative_error
from fathom_onnx.verification.judge import perturbed
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS, MODES_OF, exported


class Doctored:
    """A framework's exporter whose graphs, exported once for all tests, are changed before they are given out."""

    def __init__(self, exporter, change) -> None:
        self._exporter, self._change = exporter, change

    def export(self, request) -> onnx.ModelProto:
        assert request.workload == workload(request.workload.name, "tiny")
        model = onnx.ModelProto()
        model.CopyFrom(exported(request.workload.name, self._exporter.framework, request.mode, request.noise))
        self._change(model)
        return model

    def reference(self, *args):
        return self._exporter.reference(*args)


@pytest.fixture
def doctored(monkeypatch: pytest.MonkeyPatch):
    true = subject.find_exporter

    def use(change) -> None:
        monkeypatch.setattr(subject, "find_exporter", lambda name: Doctored(true(name), change))

    return use


@pytest.fixture
def exported_once(doctored) -> None:
    """Graphs as they are, from the exports that all tests share."""
    doctored(lambda model: None)


@pytest.mark.parametrize(("name", "mode"), MODES_OF)
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.usefixtures("exported_once")
def test_graphs_compute_what_their_framework_computes(name, framework, mode) -> None:
    check = verify(workload(name, "tiny"), framework, mode, steps=2)
    assert check.faults == ()
    assert check.in_double < 5e-7
    assert check.single.name
    if mode == "training":
        assert len(check.free_losses) == 2


@pytest.mark.parametrize(("name", "mode"), MODES_OF)
@pytest.mark.usefixtures("exported_once")
def test_graphs_of_two_frameworks_compute_the_same(name, mode) -> None:
    assert verify_pair(workload(name, "tiny"), FRAMEWORKS, mode, steps=2).faults == ()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("name", "framework"), [("memnet", "torch"), ("autoenc", "tensorflow")])
@pytest.mark.usefixtures("exported_once")
def test_right_graphs_pass_whatever_the_seed(name, framework, seed) -> None:
    assert verify(workload(name, "tiny"), framework, "training", steps=1, seed=seed).faults == ()


@pytest.mark.parametrize("name", ["residual", "alexnet", "deepq"])
def test_the_forms_for_onnxruntime_compute_the_same(name) -> None:
    check = verify(workload(name, "tiny"), "torch", "training", steps=1, purpose="onnxruntime")
    assert check.faults == ()


@pytest.mark.usefixtures("exported_once")
def test_a_free_run_of_one_step_is_the_step_that_was_judged() -> None:
    one, two = (verify(workload("memnet", "tiny"), "torch", "training", steps=steps) for steps in (1, 2))
    assert one.free_losses == two.free_losses[:1]


def test_a_graph_that_is_there_is_judged_as_one_that_is_made(exported_once, monkeypatch) -> None:
    asked = workload("memnet", "tiny")
    one, other = (from_model(exported("memnet", f, "training", "input"), "memnet") for f in FRAMEWORKS)
    made = verify(asked, "torch", "training", steps=2), verify_pair(asked, FRAMEWORKS, "training", steps=2)
    assert verify(asked, "torch", "training", steps=2, graph=one) == made[0]
    monkeypatch.setattr(subject, "find_exporter", None)  # neither framework is needed
    assert verify_pair(asked, FRAMEWORKS, "training", steps=2, graphs=(one, other)) == made[1]


def with_a_wrong_update(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A model that changes a parameter by a hundred thousandth too much."""
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    node = next(n for n in wrong.graph.node if f"{name}.next" in n.output)
    node.output[list(node.output).index(f"{name}.next")] = "right"
    wrong.graph.initializer.append(numpy_helper.from_array(np.array(1 + 1e-5, np.float32), "factor"))
    for op, inputs, output in (
        ("Sub", ["right", name], "change"),
        ("Mul", ["change", "factor"], "more"),
        ("Add", ["more", name], f"{name}.next"),
    ):
        wrong.graph.node.append(onnx.helper.make_node(op, inputs, [output], output))
    return wrong


@pytest.mark.parametrize("steps", [1, 2])
def test_a_wrong_update_is_found_in_the_pairs_of_its_graph(steps) -> None:
    asked = workload("memnet", "tiny")
    name = asked.parameters[0].name
    one, other = (exported("memnet", f, "training", "input") for f in FRAMEWORKS)
    wrong = with_a_wrong_update(one, name)
    names = (*FRAMEWORKS, FRAMEWORKS[0])
    graphs = [from_model(model, "memnet") for model in (one, other, wrong)]
    checks = verify_pairs(asked, names, "training", steps=steps, graphs=graphs)
    found = [[fault.split(" is")[0] for fault in check.faults] for check in checks]
    assert found == [[], [f"update of '{name}'"], [f"update of '{name}'"]]
    places = ((0, 1), (0, 2), (1, 2))
    alone = [
        verify_pair(asked, (names[a], names[b]), "training", steps=steps, graphs=(graphs[a], graphs[b]))
        for a, b in places
    ]
    assert checks == alone


@pytest.mark.parametrize(
    ("named", "framework", "noise", "preset", "why"),
    [
        ("memnet", "tensorflow", "input", "tiny", "graph 'memnet' is not of memnet training from torch"),
        ("autoenc", "torch", "input", "tiny", "graph 'autoenc' is not of memnet training from torch"),
        ("memnet", "torch", "graph", "tiny", r"graph 'memnet' does not take '\w+(\.\w+)*\.gradient_noise' as it must"),
        ("memnet", "torch", "input", "small", r"graph 'memnet' does not take '[\w.]+' as it must"),
    ],
)
def test_another_graph_is_refused(named, framework, noise, preset, why) -> None:
    graph = from_model(exported(named, framework, "training", noise), named)
    with pytest.raises(ExportError, match=why):
        verify(workload("memnet", preset), "torch", "training", steps=1, graph=graph)


def nodes(model: onnx.ModelProto, start: str, op_type: str) -> list[onnx.NodeProto]:
    found = [n for n in model.graph.node if n.name.startswith(start) and n.op_type == op_type]
    assert found
    return found


def constants(model: onnx.ModelProto, number: float) -> list[onnx.TensorProto]:
    found = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and not t.dims]
    found = [t for t in found if numpy_helper.to_array(t) == np.float32(number)]
    assert found
    return found


def insert_before(model: onnx.ModelProto, user: onnx.NodeProto, made: onnx.NodeProto) -> None:
    model.graph.node.insert(list(model.graph.node).index(user), made)


def another_number(old: float, new: float):
    """The constants of one value are of another."""

    def change(model: onnx.ModelProto) -> None:
        for tensor in constants(model, old):
            tensor.CopyFrom(numpy_helper.from_array(np.array(new, np.float32), tensor.name))

    return change


def scaled_gradient(model: onnx.ModelProto) -> None:
    """A gradient is too large by 1e-5, in what it is computed of."""
    node = [n for n in model.graph.node if n.name.startswith("backward/encoder.softplus/")][-1]
    factor = numpy_helper.from_array(np.array(1 + 1e-5, np.float32), "factor")
    model.graph.initializer.append(factor)
    name = node.output[0]
    node.output[0] = "unscaled"
    model.graph.node.insert(
        list(model.graph.node).index(node) + 1, onnx.helper.make_node("Mul", ["unscaled", "factor"], [name], "scaled")
    )


def dropped_term(model: onnx.ModelProto) -> None:
    """A sum of two gradients is one of them."""
    node = nodes(model, "backward/", "Add")[0]
    node.op_type = "Identity"
    del node.input[1:]


def without_bias_correction(model: onnx.ModelProto) -> None:
    """The step is counted from far on, where both corrections are 1."""
    node = next(n for n in model.graph.node if n.op_type == "Pow" and n.name.startswith("optimizer/"))
    far = numpy_helper.from_array(np.array(1e9, np.float32), "far")
    model.graph.initializer.append(far)
    node.input[1] = "far"


def exchanged_layers(model: onnx.ModelProto) -> None:
    """Two weights of one shape are read in each other's place, forward."""
    pair = ["encoder.mean.weight", "encoder.log_variance.weight"]
    for node in model.graph.node:
        if node.name.startswith("forward/"):
            for index, name in enumerate(node.input):
                if name in pair:
                    node.input[index] = pair[1 - pair.index(name)]


FAULTS = {
    "scaled gradient": (scaled_gradient, "gradient of 'encoder.hidden."),
    "dropped term": (dropped_term, "gradient of '"),
    "another epsilon": (another_number(1e-8, 1e-6), "update of '"),
    "another beta": (another_number(0.999, 0.9989), "update of '"),
    "no bias correction": (without_bias_correction, "update of '"),
    "exchanged layers": (exchanged_layers, "gradient of '"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_planted_faults_are_found(doctored, fault, framework) -> None:
    change, named = FAULTS[fault]
    doctored(change)
    faults = verify(workload("autoenc", "tiny"), framework, "training", steps=1).faults
    assert any(found.startswith(named) for found in faults), faults


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_reduction_over_a_wrong_axis_is_found(doctored, framework) -> None:
    def change(model: onnx.ModelProto) -> None:
        found = [n for n in model.graph.node if n.op_type in ("Softmax", "LogSoftmax") and n.name.startswith("loss/")]
        for node in found:
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("axis", 0))
        assert found

    doctored(change)
    faults = verify(workload("alexnet", "tiny"), framework, "training", steps=1).faults
    assert faults[0].startswith("loss is off by")
    assert any(fault.startswith("gradient of '") for fault in faults)


def test_a_running_statistic_that_stands_still_is_found(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if "bn1.running_mean.next" in n.output)
        node.output[list(node.output).index("bn1.running_mean.next")] = "unused"
        model.graph.node.append(onnx.helper.make_node("Identity", ["bn1.running_mean"], ["bn1.running_mean.next"], "s"))

    doctored(change)
    check = verify(workload("residual", "tiny"), "torch", "training", steps=1)
    assert check.faults[0].split(" is")[0] == "state 'bn1.running_mean.next'"


def test_a_wrong_mask_is_found(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:  # the gradient passes where it must not
        nodes(model, "backward/layer1.0.relu1/ReluGrad", "Sign")[0].op_type = "Cos"

    doctored(change)
    check = verify(workload("residual", "tiny"), "torch", "training", steps=1)
    assert any(fault.startswith("gradient of '") for fault in check.faults)


def test_a_sum_that_is_only_wrong_in_float32_is_found(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:  # 30000 is added and taken away again
        node = nodes(model, "forward/decoder.sigmoid/Sigmoid", "Sigmoid")[0]
        model.graph.initializer.append(numpy_helper.from_array(np.array(30000, np.float32), "far"))
        insert_before(model, node, onnx.helper.make_node("Add", [node.input[0], "far"], ["there"], "there"))
        node = nodes(model, "forward/decoder.sigmoid/Sigmoid", "Sigmoid")[0]
        insert_before(model, node, onnx.helper.make_node("Sub", ["there", "far"], ["back"], "back"))
        nodes(model, "forward/decoder.sigmoid/Sigmoid", "Sigmoid")[0].input[0] = "back"

    doctored(change)
    check = verify(
        workload("autoenc", "tiny"), "torch", "inference", steps=1, settings=SessionSettings(optimization="none")
    )
    assert check.state.error < 1e-10
    assert [fault.split(" is")[0] for fault in check.faults] == ["'reconstruction'"]
    assert "times as much as torch itself in float32" in check.faults[0]


def test_a_nan_is_a_fault(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:
        nodes(model, "forward/decoder.sigmoid/Sigmoid", "Sigmoid")[0].op_type = "Log"

    doctored(change)
    check = verify(workload("autoenc", "tiny"), "torch", "inference", steps=1)
    assert "output 'reconstruction' is off by inf" in check.faults[0]


def test_errors_of_tensors() -> None:
    nan, inf = np.nan, np.inf
    assert relative_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 0.5
    assert relative_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]), 4.0) == 0.25
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.ones(3), np.zeros(3)) == inf
    assert relative_error(np.array([nan]), np.array([1.0])) == inf
    assert relative_error(np.array([1.0]), np.array([nan])) == inf
    assert difference(np.array([nan, -inf, 2.0]), np.array([nan, -inf, 1.5])) == 0.5
    assert difference(np.array([inf]), np.array([-inf])) == inf
    assert difference(np.ones((2, 1)), np.ones((1, 2))) == inf
    assert difference(np.array([1, 2]), np.array([1, 3])) == inf
    assert difference(np.array([True]), np.array([True])) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_errors_are_those_of_each_element_in_turn(dtype) -> None:
    """One element is infinite on both sides, or no number, in half of the cases."""
    rng = np.random.default_rng(0)
    for case in range(20):
        own, exact, old = rng.normal(size=(3, 40))
        if case % 2:
            own[case] = exact[case] = rng.choice([np.nan, np.inf, -np.inf])
        made = own.astype(dtype)
        with np.errstate(invalid="ignore"):
            apart = [abs(float(a) - float(b)) for a, b in zip(made, exact, strict=True) if a != b and a == a]
        assert difference(made, exact) == max(apart)
        assert largest(exact) == max(abs(float(n)) for n in exact if np.isfinite(n))
        if case % 2 == 0:
            eps = float(np.finfo(dtype).eps)
            beyond = [g - eps * max(abs(e), abs(o)) for g, e, o in zip(apart, exact, old, strict=True)]
            step = max(abs(e - o) for e, o in zip(exact, old, strict=True))
            assert change_error(old, made, exact) == pytest.approx(max(beyond) / step, rel=1e-12)


def test_a_change_is_judged_by_its_own_size() -> None:
    old = np.array([100.0, 100.0], np.float32)
    right = old.astype(np.float64) - np.array([0.01, 0.02])
    assert change_error(old, right.astype(np.float32), right) == 0  # rounded, and no more
    wrong = old.astype(np.float64) + np.array([0.01, -0.02])
    assert change_error(old, wrong.astype(np.float32), right) == pytest.approx(1.0, rel=1e-2)
    assert change_error(old, right + np.array([0, 2e-7]), right) == pytest.approx(1e-5, rel=1e-3)
    assert relative_error(wrong, right) < 1e-3  # which the parameter's own size would hide


def test_whole_numbers_are_not_perturbed() -> None:
    values = {"a": np.array([0, 1, 0.3, -2.7] * 50, np.float32), "n": np.arange(4), "other": np.float32([0.1])}
    made = perturbed(values, {"a", "n"}, np.random.default_rng(0))
    assert made["n"] is values["n"]
    assert made["other"] is values["other"]
    moved = (made["a"] - values["a"]).reshape(50, 4)
    assert not moved[:, :2].any()
    assert set(np.sign(moved[:, 2])) == {-1, 0, 1}
    assert np.abs(moved[:, 2]).max() <= 0.3 * 2**-23


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", ["residual", "deepq", "seq2seq"])
def test_the_frameworks_own_update_of_its_own_gradients_is_its_step(name, framework) -> None:
    spec = workload(name, "tiny")
    reference = subject.find_exporter(framework).reference(spec, "training", "float64")
    values = {**spec.initial_values("training", 0), **next(checks._feeds(spec, "training", 0))}
    step = reference.step(values)
    assert step.gradients.keys() == {p.name for p in spec.parameters}
    made = reference.update(values, step.gradients)
    buffers = {b.next.name for b in spec.buffers}
    assert made.keys() == {v.next.name for v in spec.carried("training")} - buffers
    for key, value in made.items():
        np.testing.assert_allclose(value, step.outputs[key], rtol=1e-13, atol=1e-300)
