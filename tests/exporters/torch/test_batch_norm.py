"""Batch normalisation of every kind in a user's model: graph and reference against PyTorch's module in a plain loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from fathom_exporters.torch import TorchExporter
from fathom_exporters.torch.models import TORCH, make
from fathom_onnx.data import batches_for
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.workloads.contract import Adam, GradientDescent
from support.graphs.normalised import NAME, NormalisedConfig, model_class, normalised

COUNTER = "norm.num_batches_tracked"


class Doubled(nn.BatchNorm2d):
    """A normalisation with a forward of its own around PyTorch's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
    "cumulative, not affine": lambda: nn.BatchNorm2d(3, momentum=None, affine=False),
    "cumulative, within another forward": lambda: Doubled(3, momentum=None),
    "by momentum": lambda: nn.BatchNorm2d(3, momentum=0.3, eps=1e-3),
    "all of the last batch": lambda: nn.BatchNorm2d(3, momentum=1.0),
    "nothing tracked": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "not affine": lambda: nn.BatchNorm2d(3, affine=False),
}
"""Kind of batch normalisation to its module."""


def by_instance() -> nn.Module:
    """A normalisation that has a count of batches and never counts."""
    return nn.InstanceNorm2d(3, affine=True, track_running_stats=True)


def use(monkeypatch: pytest.MonkeyPatch, norm: Callable[[], nn.Module], left_out: str = "", optimizer=None):
    model = model_class(norm)
    monkeypatch.setitem(TORCH.built_in, NAME, model)
    return model, normalised(model, optimizer, left_out)


def plain_loop(model_type, workload, batches, optimizer) -> list[dict[str, np.ndarray]]:
    """Loss and variables after each step of an ordinary training loop in float64."""
    model = model_type(NormalisedConfig()).double()
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in workload.initial_values("training", 0).items():
            if name in named:
                named[name].copy_(torch.tensor(value))
    update = optimizer(model.parameters())
    rows = []
    for batch in batches:
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in batch.items()}
        update.zero_grad()
        loss = model.loss(model(tensors), tensors)
        loss.backward()
        update.step()
        rows.append({"loss": loss.item(), **{n: t.detach().clone().numpy() for n, t in named.items()}})
    return rows


def carried(step: Callable, workload, batches) -> list[dict[str, np.ndarray]]:
    """The same of a function of the interface's inputs, its state carried over."""
    state = workload.initial_values("training", 0)
    rows = []
    for batch in batches:
        outputs = step({**batch, **state}).outputs
        state = {v.name: outputs[v.next.name] for v in workload.carried("training")}
        rows.append({"loss": outputs["loss"], **state})
    return rows


@pytest.mark.parametrize(
    ("norm", "left_out"),
    [*((norm, "") for norm in NORMS.values()), (by_instance, COUNTER)],
    ids=[*NORMS, "by instance"],
)
def test_graph_and_reference_do_what_pytorchs_module_does(monkeypatch, norm, left_out) -> None:
    model, workload = use(monkeypatch, norm, left_out, GradientDescent(0.1))
    batches = list(itertools.islice(batches_for(workload, "training", 0), 3))
    want = plain_loop(model, workload, batches, lambda p: torch.optim.SGD(p, 0.1))
    exporter = TorchExporter()
    reference = carried(exporter.reference(workload, "training", "float64").step, workload, batches)
    graph = from_model(exporter.export(ExportRequest(workload, "training")), NAME)
    exported = carried(Evaluator(graph).step, workload, batches)
    for step, row in enumerate(want):
        for name in row.keys() & reference[step].keys():
            value = row[name]
            np.testing.assert_allclose(reference[step][name], value, rtol=1e-11, atol=1e-14, err_msg=name)
            np.testing.assert_allclose(exported[step][name], value, rtol=2e-5, atol=2e-6, err_msg=name)
    for name, value in workload.initial_values("training", 0).items():
        if name.startswith("norm."):  # what is compared has moved
            assert (want[0][name] != value).all()


def test_a_cumulative_average_is_the_mean_over_all_batches(monkeypatch) -> None:
    """By numpy: a filter that does not learn, so that the statistics of each batch are known."""
    _, workload = use(monkeypatch, NORMS["cumulative"], optimizer=GradientDescent(0.0))
    batches = list(itertools.islice(batches_for(workload, "training", 0), 3))
    start = workload.initial_values("training", 0)
    images = [
        torch.conv2d(torch.tensor(b["x"]).double(), torch.tensor(start["conv.weight"]).double()).numpy()
        for b in batches
    ]
    means = [image.mean((0, 2, 3)) for image in images]
    variances = [image.var((0, 2, 3), ddof=1) for image in images]
    graph = from_model(TorchExporter().export(ExportRequest(workload, "training")), NAME)
    for step, row in enumerate(carried(Evaluator(graph).step, workload, batches), 1):
        np.testing.assert_allclose(row["norm.running_mean"], np.mean(means[:step], 0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(row["norm.running_var"], np.mean(variances[:step], 0), rtol=1e-5)
        assert row[COUNTER] == step
        assert row[COUNTER].dtype == np.int64


def test_a_count_that_is_read_must_be_the_workloads(monkeypatch) -> None:
    for norm in (NORMS["cumulative"], lambda: Doubled(3)):
        _, workload = use(monkeypatch, norm, left_out=COUNTER)
        for use_it in (
            lambda w=workload: TorchExporter().export(ExportRequest(w, "training")),
            lambda w=workload: TorchExporter().reference(w, "training", "float64"),
        ):
            with pytest.raises(ExportError, match=rf"reads the count: add Variable\('{COUNTER}', \(\), .*'int64'\)"):
                use_it()


def test_a_count_that_nothing_reads_may_be_left_out(monkeypatch) -> None:
    _, workload = use(monkeypatch, NORMS["by momentum"], left_out=COUNTER)
    assert int(make(workload).norm.num_batches_tracked) == 0  # untouched: the module counts for itself
    graph = from_model(TorchExporter().export(ExportRequest(workload, "training")), NAME)
    assert not [t.name for t in graph.inputs if t.name == COUNTER]


def test_an_element_type_and_a_parameter_that_does_not_train_are_told(monkeypatch) -> None:
    _, workload = use(monkeypatch, NORMS["cumulative"])
    wrong = [v if v.name != COUNTER else type(v)(v.name, v.shape, v.initialiser) for v in workload.buffers]
    with pytest.raises(ExportError, match=r"is int64 \(\), the workload says float32 \(\)"):
        make(type(workload)(**{**vars(workload), "buffers": tuple(wrong)}))
    _, workload = use(monkeypatch, lambda: nn.BatchNorm2d(3).requires_grad_(False))
    with pytest.raises(ExportError, match=r"does not train 'norm\.(weight|bias)'; list it as frozen"):
        make(workload)


def test_what_has_no_form_in_training_is_an_error(monkeypatch) -> None:
    class Frozen(nn.BatchNorm2d):
        def train(self, mode: bool = True) -> nn.Module:
            return super().train(False)

    for norm, unchanged in ((lambda: Frozen(3), "norm.running_mean"), (by_instance, COUNTER)):
        _, workload = use(monkeypatch, norm)
        with pytest.raises(ExportError, match=f"does not change '{unchanged}'; leave it out"):
            TorchExporter().export(ExportRequest(workload, "training"))
    _, workload = use(monkeypatch, lambda: nn.Dropout(0.5))
    with pytest.raises(ExportError, match="draws its own random numbers in 'norm'"):
        TorchExporter().export(ExportRequest(workload, "training", "input"))


def test_an_activation_in_place_is_one(monkeypatch) -> None:
    steps = []
    for in_place in (False, True):
        model = model_class(NORMS["by momentum"], lambda: nn.ReLU(inplace=in_place))  # noqa: B023
        monkeypatch.setitem(TORCH.built_in, NAME, model)
        workload = normalised(model, Adam(1e-2))
        values = {**workload.initial_values("training", 0), **next(batches_for(workload, "training", 0))}
        steps.append(TorchExporter().reference(workload, "training", "float64").step(values).outputs)
    for name, value in steps[0].items():
        np.testing.assert_array_equal(steps[1][name], value)
