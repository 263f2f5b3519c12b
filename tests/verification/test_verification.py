"""Verification passes right graphs, and fails each kind of wrong one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import fathom_onnx.verification.checks as checks
import fathom_onnx.verification.subject as subject
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import Kink
from fathom_onnx.graph import from_model
from fathom_onnx.verification import Flips, verify, verify_pair
from fathom_onnx.verification.compare import change_error, find_flips, relative_error
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS, WORKLOADS, exported


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


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.usefixtures("exported_once")
def test_graphs_compute_what_their_framework_computes(name, framework, mode) -> None:
    check = verify(workload(name, "tiny"), framework, mode, steps=5)
    assert check.faults == ()
    assert check.state.error < 1e-5
    if mode == "training":
        assert 0 < check.parameter.error < 1e-5
        assert len(check.free_losses) == 5


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.usefixtures("exported_once")
def test_graphs_of_two_frameworks_compute_the_same(name, mode) -> None:
    assert verify_pair(workload(name, "tiny"), FRAMEWORKS, mode, steps=2).faults == ()


@pytest.mark.parametrize("name", ["residual", "alexnet", "deepq"])
def test_the_forms_for_onnxruntime_compute_the_same(name) -> None:
    check = verify(workload(name, "tiny"), "torch", "training", steps=1, purpose="onnxruntime")
    assert check.faults == ()
    assert check.state.error < 1e-5


def test_a_graph_that_is_there_is_judged_as_one_that_is_made(exported_once, monkeypatch) -> None:
    asked = workload("memnet", "tiny")
    one, other = (from_model(exported("memnet", f, "training", "input"), "memnet") for f in FRAMEWORKS)
    made = verify(asked, "torch", "training", steps=2), verify_pair(asked, FRAMEWORKS, "training", steps=2)
    assert verify(asked, "torch", "training", steps=2, graph=one) == made[0]
    monkeypatch.setattr(subject, "find_exporter", None)  # no branch differs, so that neither framework is needed
    assert verify_pair(asked, FRAMEWORKS, "training", steps=2, graphs=(one, other)) == made[1]


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


def test_a_wrong_optimizer_is_found(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:  # Adam's epsilon goes, as an unsafe optimizer pass would have it
            array = numpy_helper.to_array(tensor)
            if array.shape == () and array.dtype == np.float32 and array == np.float32(1e-8):
                tensor.CopyFrom(numpy_helper.from_array(np.array(1e-3, np.float32), tensor.name))
                return
        raise AssertionError("no epsilon")

    doctored(change)
    check = verify(workload("autoenc", "tiny"), "torch", "training", steps=1)
    assert [fault.split("'")[0] for fault in check.faults] == ["parameter "]


def test_a_wrong_gradient_is_found(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:
        nodes(model, "backward/encoder.softplus/SoftplusGrad", "Sigmoid")[0].op_type = "Tanh"

    doctored(change)
    check = verify(workload("autoenc", "tiny"), "torch", "training", steps=1)
    assert any(fault.startswith("state 'encoder.hidden") for fault in check.faults)


def test_a_wrong_mask_is_not_explained_away_as_a_flip(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:  # the gradient passes where it must not
        node = nodes(model, "backward/layer1.0.relu1/ReluGrad", "Sign")[0]
        node.op_type = "Cos"

    doctored(change)
    check = verify(workload("residual", "tiny"), "torch", "training", steps=1)
    assert check.flips.count == 0
    assert any(fault.startswith("state") for fault in check.faults)


def test_a_wrong_activation_is_a_flip_too_far(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:  # one layer's input is negated: about half of its signs flip
        node = nodes(model, "forward/relu1/Relu", "Relu")[0]
        model.graph.node.insert(
            list(model.graph.node).index(node),
            onnx.helper.make_node("Neg", [node.input[0]], ["negated"], "forward/relu1/Neg"),
        )
        nodes(model, "forward/relu1/Relu", "Relu")[0].input[0] = "negated"

    doctored(change)
    check = verify(workload("residual", "tiny"), "torch", "inference", steps=1)
    assert check.flips.relu > 10_000
    assert any("from its branch point" in fault for fault in check.faults)


def test_a_nan_is_a_fault(doctored) -> None:
    def change(model: onnx.ModelProto) -> None:
        nodes(model, "forward/decoder.sigmoid/Sigmoid", "Sigmoid")[0].op_type = "Log"

    doctored(change)
    check = verify(workload("autoenc", "tiny"), "torch", "inference", steps=1)
    assert "output 'reconstruction' error inf" in check.faults[0]


def test_relative_error() -> None:
    assert relative_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 0.5
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.ones(3), np.zeros(3)) == float("inf")
    assert relative_error(np.array([np.nan]), np.array([1.0])) == float("inf")


def test_a_change_is_judged_by_its_own_size() -> None:
    old = np.array([100.0, 100.0], np.float32)
    right = old.astype(np.float64) - np.array([0.01, 0.02])
    assert change_error(old, right.astype(np.float32), right) == 0  # rounded, and no more
    wrong = old.astype(np.float64) + np.array([0.01, -0.02])
    assert change_error(old, wrong.astype(np.float32), right) == pytest.approx(1.0, rel=1e-2)
    assert relative_error(wrong, right) < 1e-3  # which the parameter's own size would hide


def test_flips_by_hand() -> None:
    x = np.array([[1.0, -1e-6, 10.0]])
    ours = Kink("Relu", x, np.array([[True, True, True]]))
    theirs = Kink("Relu", x, x > 0)
    assert find_flips({"a": ours}, {"a": theirs}) == Flips(relu=1, pool=0, margin=1e-7)
    image = np.array([[[[4.0, 3.0], [2.0, 8.0]]]])
    ours, theirs = (Kink("MaxPool", image, np.array([[[[index]]]])) for index in (0, 3))
    assert find_flips({"p": ours}, {"p": theirs}) == Flips(relu=0, pool=1, margin=0.5)
    with pytest.raises(ValueError, match="not the same"):
        find_flips({"a": ours}, {"b": theirs})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_given_branches_are_taken(framework) -> None:
    """The reference follows branches that are not its own, forward and backward."""
    spec = workload("residual", "tiny")
    reference = subject.find_exporter(framework).reference(spec, "training", "float64")
    values = {**spec.initial_values("training", 0), **next(checks._feeds(spec, "training", 0))}
    free = reference.step(values)
    branches = {layer: kink.branches for layer, kink in free.kinks.items()}
    same = reference.step(values, branches)
    for name, value in free.outputs.items():
        np.testing.assert_allclose(same.outputs[name], value, rtol=1e-9, atol=1e-15)
    closed = {**branches, "relu1": np.zeros_like(branches["relu1"])}
    shut = reference.step(values, closed)
    assert np.abs(shut.outputs["conv1.weight.adam_m.next"]).max() == 0
    assert np.abs(shut.kinks["maxpool"].value).max() == 0
    corner = {**branches, "maxpool": np.zeros_like(branches["maxpool"])}
    picked = reference.step(values, corner).kinks["maxpool"]
    assert (picked.branches == 0).all()
