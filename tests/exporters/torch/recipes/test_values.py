"""Values that a model reads in Python while its step is recorded: constants, those of an example, and neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fathom_onnx
from fathom_exporters.torch.recipes import find_gaps
from fathom_onnx.errors import ExportError
from fathom_onnx.recipes import Recipe
from fathom_onnx.recipes.blame import short_path

pytestmark = pytest.mark.slow

Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Own(nn.Module):
    """A linear layer, buffers, and a forward pass that is given."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 6)
        self.register_buffer("scale", torch.tensor(3.0))
        self.register_buffer("kept", torch.tensor([True, False, True, True, False, False]))
        self.register_buffer("steps", torch.tensor(0))
        self.plain = torch.tensor([0.5, 2.0])
        self.own = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.own(self, x)


def loss(y: torch.Tensor, batch: Any) -> torch.Tensor:
    return y.square().mean()


def exported(forward: Forward, specialise: bool = False) -> tuple[Own, torch.Tensor, Any]:
    model, x = Own(forward), torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, -1.0, 2.0]])
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    return model, x, fathom_onnx.export_step(model, x, loss, optimizer, specialise=specialise)


def assert_right(forward: Forward, specialise: bool = False) -> Any:
    """The graph's step is PyTorch's own."""
    model, x, graph = exported(forward, specialise)
    found = fathom_onnx.run_step(graph)
    expected = loss(model(x), x)
    expected.backward()
    assert float(found["loss"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            found[f"{name}.next"], (parameter - 0.5 * parameter.grad).detach(), rtol=1e-4, atol=1e-6
        )
    return graph


def by_numbers(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) * float(torch.sqrt(torch.tensor(x.shape[1], dtype=torch.float32)) * m.scale)


def by_branches(m: Any, x: torch.Tensor) -> torch.Tensor:
    longest = max(m.scale, torch.tensor(2.0) * m.plain[1])  # a comparison of tensors
    y = m.linear(x)
    return y * longest if (m.scale > 2).all() and bool(m.plain.sum() < 3) else -y


def by_places(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.linear(x)
    return y[:, m.kept] + y[:, m.kept.nonzero().squeeze(1)] + y.masked_select(~m.kept).view(2, 3)


def by_text_and_arrays(m: Any, x: torch.Tensor) -> torch.Tensor:
    names = {"3": 2.0}
    return m.linear(x) * names[f"{m.scale.long()}"] * float(m.plain.numpy().sum()) * torch.arange(4).tolist()[3]


def after_a_change(m: Any, x: torch.Tensor) -> torch.Tensor:
    count = torch.zeros(3)
    count[1:] += 2
    count.mul_(m.plain[1])
    return m.linear(x) * count.sum().item()


@pytest.mark.parametrize("forward", [by_numbers, by_branches, by_places, by_text_and_arrays, after_a_change])
def test_what_depends_on_no_input_is_a_constant(forward: Forward) -> None:
    assert assert_right(forward).metadata.specialised == ()


def counting(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.steps.add_(1)
    return m.linear(x) if m.steps.item() == 1 else -m.linear(x)


def changed_by_input(m: Any, x: torch.Tensor) -> torch.Tensor:
    largest = torch.zeros(2)
    view = largest[:1]
    view.copy_(x[:1, 0])
    return m.linear(x) * largest.sum().item()


def of_the_batch(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) if x.sum() > 0 else -m.linear(x)


def of_parameters(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) * m.linear.bias.max().item()


def as_an_array(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x)[np.argsort(x[:, 0].numpy())]


@pytest.mark.parametrize("forward", [counting, changed_by_input, of_the_batch, of_parameters, as_an_array])
def test_what_depends_on_inputs_or_state_is_refused_with_its_line(forward: Forward) -> None:
    with pytest.raises(ExportError, match=r"test_values\.py:\d+\) needs a branch or a number .*specialise=True"):
        exported(forward)


def by_mask(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.linear(x)
    return y[x[:, 0] > 0].sum() + y[:, :4][x > 0].sum() + y[:, :4].masked_select(x < 0).prod()


def by_matching(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.linear(x)
    order = torch.as_tensor(np.argsort(y.detach()[:, 0].numpy()))
    return y[order] * torch.tensor([[1.0], [2.0]])


def by_experts(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = m.linear(x)
    out = torch.zeros_like(y)
    for place in (x[:, 1] > 0).nonzero():
        out[place[0]] = y[place[0]] * 2
    return out + y


@pytest.mark.parametrize("forward", [of_the_batch, of_parameters, as_an_array, by_mask, by_experts])
def test_what_depends_on_the_example_can_be_specialised_and_the_graph_says_so(forward: Forward) -> None:
    notes = assert_right(forward, specialise=True).metadata.specialised
    assert notes
    assert all("test_values.py:" in note for note in notes)


@pytest.mark.parametrize("forward", [by_matching, lambda m, x: m.linear(x)[m.linear(x) > 0]])
def test_rows_that_parameters_choose_cannot_be_specialised(forward: Forward) -> None:
    with pytest.raises(ExportError, match=r"taken at .*test_values\.py:\d+ depends on the parameters"):
        exported(forward, specialise=True)


def starting(m: Any, x: torch.Tensor) -> torch.Tensor:
    m.scale = torch.where(m.scale == 3, 5.0, m.scale) if m.scale.item() == 3 else m.scale * 1
    return m.linear(x) * m.scale


def test_what_only_the_first_step_reads_is_refused_until_it_was_taken() -> None:
    model, x = Own(starting), torch.ones(2, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with pytest.raises(ExportError, match=r"test_values\.py:\d+: .* is another in the next step; take a step before"):
        fathom_onnx.export_step(model, x, loss, optimizer, specialise=True)
    model(x)
    with pytest.raises(ExportError, match="needs a branch or a number"):
        fathom_onnx.export_step(model, x, loss, optimizer)
    assert "scale.next" in {o.name for o in fathom_onnx.export_step(model, x, loss, optimizer, specialise=True).outputs}


def by_chance(m: Any, x: torch.Tensor) -> torch.Tensor:
    return m.linear(x) if torch.rand(()) > 0.5 else -m.linear(x)


@pytest.mark.parametrize("specialise", [False, True])
def test_what_depends_on_a_draw_is_refused_in_any_case(specialise: bool) -> None:
    with pytest.raises(ExportError, match="a random number" if specialise else "depends on values"):
        exported(by_chance, specialise)


def test_a_model_that_does_not_fit_the_paths_for_compilers_is_recorded_on_the_others() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return m.linear(x) + torch.ones(7)
        return m.linear(x)

    assert_right(forward)


def test_a_module_may_be_converted_to_what_it_is() -> None:
    assert_right(lambda m, x: m.linear.to(torch.float32)(x))
    with pytest.raises(ExportError, match="'weight' of a Linear is converted in the forward pass"):
        exported(lambda m, x: m.linear.to(torch.float64)(x.double()))


def test_a_view_of_a_view_can_be_changed_in_place() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = F.pad(m.linear(x), (0, 2)).view(2, 2, 2, 2).transpose(2, 1)
        y[:, :1] = 0.0
        return y * y

    assert_right(forward)


def test_a_recording_that_failed_leaves_nothing_behind() -> None:
    x = torch.randn(2, 4)

    def gaps(forward: Forward) -> Any:
        model = Own(forward)
        return find_gaps(Recipe(model, x, loss, torch.optim.SGD(model.parameters(), 0.5)), "training")

    def unknown(m: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.lgamma(m.linear(x).square() + 1).sum()

    alone = gaps(unknown)
    assert short_path(Path(__file__)) == alone[0].source.partition(":")[0]
    assert gaps(of_the_batch)[0].operation == "aten._local_scalar_dense.default"
    assert gaps(unknown) == alone
    assert {(g.phase, g.layer) for g in alone} == {("forward", "Own"), ("backward", "Own")}


def test_a_graph_keeps_its_values_where_the_model_and_the_batch_go_on() -> None:
    model, batch = nn.Linear(3, 2), torch.ones(4, 3)
    graph = fathom_onnx.export_step(
        model, batch, lambda out, _: out.square().sum(), torch.optim.SGD(model.parameters(), 0.125)
    )
    losses = fathom_onnx.train(graph, 3, threads=1).losses
    with torch.no_grad():
        for changed in (*model.parameters(), batch):
            changed.fill_(7.0)
    assert fathom_onnx.train(graph, 3, threads=1).losses == losses
