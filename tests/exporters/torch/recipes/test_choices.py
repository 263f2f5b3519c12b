"""Steps whose shapes and branches depend on values, and parts that cannot be recorded: specialised, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, rnn

import fathom_onnx
from fathom_onnx.errors import UsageError
from fathom_onnx.recipes import Recipe
from support.steps import cross_entropy, errors, refused, rows

pytestmark = pytest.mark.slow

O = torch.optim  # noqa: E741


class Chosen(nn.Module):
    """A mean over the rows that a mask of the batch, a number drawn or the values themselves choose."""

    def __init__(self, by: str) -> None:
        super().__init__()
        self.linear, self.by = nn.Linear(4, 3), by

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.by == "batch":
            return y[x[:, 0] > 0]
        if self.by == "values":
            return y[y[:, 0] > 0]
        if self.by == "chance":
            return y if torch.rand(()) < 0.5 else 2 * y
        order = np.argsort(y[:, 0].detach().numpy())
        return y[torch.from_numpy(order)]


def _mean(outputs: Tensor, batch: Any) -> Tensor:
    return outputs.pow(2).mean()


def test_rows_that_a_mask_of_the_batch_chooses_can_be_specialised() -> None:
    torch.manual_seed(0)
    model, batch = Chosen("batch"), rows()[:1]
    assert "specialise=True" in refused(model, batch, _mean)
    worst, _ = errors(Recipe(model, batch, _mean, O.SGD(model.parameters(), 0.1), specialise=True), steps=2)
    assert worst < 1e-6


@pytest.mark.parametrize(
    ("by", "why"), [("values", "the parameters"), ("chance", "a random number"), ("numpy", "the parameters")]
)
def test_a_choice_that_is_another_in_the_next_step_is_refused(by: str, why: str) -> None:
    torch.manual_seed(0)
    model, batch = Chosen(by), rows()[:1]
    first = refused(model, batch, _mean)
    assert "specialise=True" in first
    told = refused(model, batch, _mean, specialise=True)
    assert f"depends on {why}" in told
    assert "torch.where" in told


class Packed(nn.Module):
    """Sequences of several lengths, packed."""

    def __init__(self, kind: type[nn.RNNBase], lengths: list[int] | None, **options: Any) -> None:
        super().__init__()
        self.layer, self.lengths = kind(2, 3, batch_first=True, **options), lengths

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = rnn.pack_padded_sequence(x, self.lengths or lengths, batch_first=True, enforce_sorted=False)
        y, state = self.layer(packed)
        y, found = rnn.pad_packed_sequence(y, batch_first=True, padding_value=0.5, total_length=3)
        return y * found[:, None, None], state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize(
    ("kind", "lengths", "options"),
    [(nn.LSTM, [1, 2], {}), (nn.GRU, None, {"bidirectional": True}), (nn.RNN, None, {"nonlinearity": "relu"})],
)
def test_packed_sequences_of_the_lengths_in_the_batch(kind: Any, lengths: Any, options: Any) -> None:
    torch.manual_seed(0)
    model = Packed(kind, lengths, **options)
    batch = (torch.randn(2, 2, 2), torch.tensor([1, 2]))

    def loss(outputs: Any, batch: Any) -> Tensor:
        return sum((o.pow(2).mean() for o in outputs), torch.zeros(()))

    optimizer = O.SGD(model.parameters(), 0.1)
    if lengths is None:
        assert "specialise=True" in refused(model, batch, loss)
    worst, _ = errors(Recipe(model, batch, loss, optimizer, specialise=True))
    assert worst < 1e-6


class Cast(nn.Module):
    def __init__(self, kind: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.kind):
            return self.linear(x).float()


def test_what_cannot_be_is_one_line_with_a_rewrite() -> None:
    torch.manual_seed(0)
    batch = rows()
    told = refused(Cast(), batch)
    assert "'linear'" in told
    assert "bfloat16" in told
    assert "float32" in told
    told = refused(Cast(torch.float16), batch)
    assert "computes a training step in float16" in told
    assert "the whole step in float32" in told
    half = nn.Linear(4, 3).half()
    told = refused(half, tuple(t.half() if t.is_floating_point() else t for t in batch))
    assert "float16" in told
    model = nn.Linear(4, 3)
    told = refused(model, batch, optimizer=O.LBFGS(model.parameters()))
    assert told.startswith("a step of LBFGS runs the model as often as its values ask for")
    assert "use another optimizer" in told
    solved = nn.Sequential(parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="cayley"))
    told = refused(solved, rows(3))
    assert "_linalg_solve_ex" in told
    assert "factorisation" in told


class Halving(O.Optimizer):
    """Halves gradients, and leaves the rest to another optimizer."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.inner = O.Adam(self.param_groups, 0.1)

    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad.mul_(0.5)
        self.inner.step()


def test_parts_that_hide_what_they_do_are_refused() -> None:
    torch.manual_seed(0)
    model, batch = nn.Linear(4, 3), rows()
    told = refused(model, batch, optimizer=Halving(model.parameters()))
    assert "steps another one (Adam)" in told
    assert "register_step_pre_hook" in told
    assert "nothing beside it" in refused(model, batch, lambda o, b: (F.cross_entropy(o, b[1]), {}))
    compiled = nn.Sequential(torch.jit.script(nn.Linear(4, 3)))
    with pytest.raises(UsageError, match="'0' is compiled to TorchScript, which cannot be recorded"):
        fathom_onnx.export_step(compiled, batch, cross_entropy, O.SGD(compiled.parameters(), 0.1))
