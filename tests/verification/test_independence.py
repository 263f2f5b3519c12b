"""What verification finds because its reference is the framework's own: faults in what the exporter writes or edits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from torch import nn

import fathom_exporters.torch.built.subject as built
import fathom_exporters.torch.stepping.averages as averages
import fathom_exporters.torch.stepping.step as step
from fathom_exporters.torch.models import TORCH
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import from_model
from fathom_onnx.verification import verify
from fathom_onnx.workloads.contract import Adam, GradientDescent
from support.graphs.normalised import NAME, model_class, normalised


def plug_in(monkeypatch: pytest.MonkeyPatch, optimizer=None, momentum: float | None = None):
    model = model_class(lambda: nn.BatchNorm2d(3, momentum=momentum))
    monkeypatch.setitem(TORCH.built_in, NAME, model)
    return normalised(model, optimizer)


def faults_of(workload, change=lambda model: None) -> tuple[str, ...]:
    model = find_exporter("torch").export(ExportRequest(workload, "training", "input"))
    change(model)
    return verify(workload, "torch", "training", steps=3, graph=from_model(model, NAME)).faults


def rewired(model: onnx.ModelProto, output: str, op: str, *inputs: str) -> None:
    """Make ``output`` by another node, in place of the one that makes it."""
    node = next(n for n in model.graph.node if output in n.output)
    index = list(node.output).index(output)
    node.output[index] = f"{output}.before"
    model.graph.node.append(onnx.helper.make_node(op, list(inputs), [output], f"{node.name}.changed"))


@pytest.mark.parametrize("optimizer", [Adam(1e-2), GradientDescent(0.1)], ids=["adam", "descent"])
def test_right_graphs_pass(monkeypatch, optimizer) -> None:
    assert faults_of(plug_in(monkeypatch, optimizer)) == ()


@pytest.mark.parametrize("momentum", [None, 0.1])
@pytest.mark.parametrize("statistic", ["running_mean", "running_var"])
def test_frozen_running_statistics_are_found(monkeypatch, momentum, statistic) -> None:
    name = f"norm.{statistic}"
    faults = faults_of(
        plug_in(monkeypatch, momentum=momentum), lambda model: rewired(model, f"{name}.next", "Identity", name)
    )
    assert faults[0].split(" is")[0] == f"state '{name}.next'"


@pytest.mark.parametrize("optimizer", [Adam(1e-2), GradientDescent(0.1)], ids=["adam", "descent"])
def test_a_gradient_scaled_by_a_thousandth_is_found(monkeypatch, optimizer) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(1.001, np.float32), "scale"))
        users = [n for n in model.graph.node if n.name.startswith("optimizer/norm.")]
        made = {o for n in model.graph.node if n.name.startswith("backward/norm/") for o in n.output}
        gradient = next(i for n in users for i in n.input if i in made)
        for user in users:
            for index, name in enumerate(user.input):
                if name == gradient:
                    user.input[index] = "scaled"
        position = list(model.graph.node).index(users[0])
        model.graph.node.insert(
            position, onnx.helper.make_node("Mul", [gradient, "scale"], ["scaled"], "backward/norm/BatchNormGrad/X")
        )

    faults = faults_of(plug_in(monkeypatch, optimizer), change)
    assert "'norm." in faults[0]


def test_an_edit_of_the_exported_module_alone_is_found(monkeypatch) -> None:
    """The statistics stand still in the module that is recorded; the reference has the module as it was written."""
    true = built.make

    def edited(workload) -> nn.Module:
        model = true(workload)
        model.get_submodule("norm").momentum = 0.0
        return model

    monkeypatch.setattr(built, "make", edited)
    assert faults_of(plug_in(monkeypatch))[0].split(" is")[0] == "state 'norm.running_mean.next'"


def test_a_wrong_average_in_the_recording_is_found(monkeypatch) -> None:
    true = averages._normalise

    def twice(module, x):
        module.num_batches_tracked.add_(1)
        return true(module, x)

    monkeypatch.setattr(averages, "_normalise", twice)
    assert [f.split("'")[1] for f in faults_of(plug_in(monkeypatch))][:1] == ["norm.num_batches_tracked.next"]


@pytest.mark.parametrize("rule", [Adam(1e-2), GradientDescent(0.1)], ids=["adam", "descent"])
def test_a_wrong_update_in_the_recording_is_found(monkeypatch, rule) -> None:
    true = step.updated

    def wrong(subject, leaves, values, mark, *, recorded):
        for leaf in leaves.values():
            leaf.grad = 1.001 * leaf.grad
        return true(subject, leaves, values, mark, recorded=recorded)

    monkeypatch.setattr(step, "updated", wrong)
    assert faults_of(plug_in(monkeypatch, rule))
