"""Steps of modules of one's own: every optimizer, dropout, checkpointing, against PyTorch's own step in float64."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import fathom_onnx
from fathom_exporters.torch.recipes.reference import RecipeReference
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import find_exporter
from fathom_onnx.recipes import Recipe
from support.steps import errors

pytestmark = pytest.mark.slow

O = torch.optim  # noqa: E741


def cross_entropy(outputs: torch.Tensor, batch: Any) -> torch.Tensor:
    return F.cross_entropy(outputs, batch[1])


def perceptron() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, (torch.randn(5, 4), torch.randint(0, 3, (5,)))


OPTIMIZERS = {
    "sgd": lambda p: O.SGD(p, 0.1),
    "momentum": lambda p: O.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": lambda p: O.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: O.Adam(p, 1e-2),
    "amsgrad": lambda p: O.Adam(p, 1e-2, amsgrad=True),
    "adamw": lambda p: O.AdamW(p, 1e-2),
    "adagrad": lambda p: O.Adagrad(p, 1e-2),
    "rmsprop": lambda p: O.RMSprop(p, 1e-2, centered=True, momentum=0.5),
    "adadelta": lambda p: O.Adadelta(p),
    "adamax": lambda p: O.Adamax(p),
    "nadam": lambda p: O.NAdam(p),
    "radam": lambda p: O.RAdam(p),
    "asgd": lambda p: O.ASGD(p),
    "adafactor": lambda p: O.Adafactor(p),
    "rprop": lambda p: O.Rprop(p),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_recorded_as_it_is(name: str) -> None:
    model, batch = perceptron()
    worst, _ = errors(Recipe(model, batch, cross_entropy, OPTIMIZERS[name](model.parameters())), steps=2)
    assert worst < 2e-5


@pytest.mark.parametrize(
    ("optimizer", "what"), [(O.LBFGS, "LBFGS runs the model"), (O.SparseAdam, "takes sparse gradients")]
)
def test_an_optimizer_that_no_graph_can_hold_is_refused(optimizer: Any, what: str) -> None:
    model, batch = perceptron()
    with pytest.raises(ExportError, match=what):
        fathom_onnx.export_step(model, batch, cross_entropy, optimizer(model.parameters()))


def test_groups_keep_their_options_and_a_subset_is_trained() -> None:
    model, batch = perceptron()
    groups = [{"params": [model[0].weight], "lr": 0.5}, {"params": [model[2].bias]}]
    worst, graph = errors(Recipe(model, batch, cross_entropy, O.SGD(groups, 0.1)))
    assert worst < 1e-6
    assert {o.name for o in graph.outputs} == {"loss", "0.weight.next", "2.bias.next"}


def test_a_hook_that_clips_is_part_of_the_step() -> None:
    model, batch = perceptron()
    optimizer = O.SGD(model.parameters(), 1.0)
    optimizer.register_step_pre_hook(lambda *_: (nn.utils.clip_grad_norm_(model.parameters(), 0.01), None)[1])
    worst, graph = errors(Recipe(model, batch, cross_entropy, optimizer))
    assert worst < 1e-6
    assert any("/ClipGradient/" in n.name for n in graph.model.graph.node)


def test_batch_normalisation_keeps_its_mode_and_its_statistics() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    batch = (torch.randn(6, 4), torch.randint(0, 3, (6,)))
    worst, graph = errors(Recipe(model, batch, cross_entropy, O.SGD(model.parameters(), 0.1)))
    assert worst < 1e-5
    assert "1.running_mean.next" in {o.name for o in graph.outputs}
    model[1].eval()
    worst, graph = errors(Recipe(model, batch, cross_entropy, O.SGD(model.parameters(), 0.1)))
    assert worst < 1e-5
    assert "1.running_mean.next" not in {o.name for o in graph.outputs}


class Counting(nn.BatchNorm1d):
    """A normalisation with a forward pass of its own, which reads its count."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.num_batches_tracked.add_(1)
        return x * self.weight / self.num_batches_tracked + self.bias


def test_a_count_that_a_module_reads_is_state() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), Counting(8), nn.Linear(8, 3))
    batch = (torch.randn(6, 4), torch.randint(0, 3, (6,)))
    worst, graph = errors(Recipe(model, batch, cross_entropy, O.SGD(model.parameters(), 0.1)), steps=3)
    assert worst < 1e-5
    assert "1.num_batches_tracked.next" in {o.name for o in graph.outputs}


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None, dropout: float) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.drop, self.reentrant = nn.Dropout(dropout), reentrant

    def block(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(torch.tanh(self.b(torch.tanh(self.a(x)))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.reentrant is None:
            return self.c(self.block(x))
        return self.c(checkpoint(self.block, x, use_reentrant=self.reentrant))


@pytest.mark.parametrize("dropout", [0.5, 0.3])
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_checkpointing_repeats_the_forward_pass_with_the_same_draws(reentrant: bool | None, dropout: float) -> None:
    torch.manual_seed(0)
    model = Checkpointed(reentrant, dropout)
    batch = (torch.randn(5, 4, requires_grad=reentrant is True), torch.randint(0, 3, (5,)))
    worst, graph = errors(Recipe(model, batch, cross_entropy, O.SGD(model.parameters(), 0.1)))
    assert worst < 1e-6
    tanh = Counter(n.name.split("/")[0] for n in graph.model.graph.node if n.op_type == "Tanh")
    assert tanh == ({"forward": 2} if reentrant is None else {"forward": 2, "backward": 2})


def test_parts_of_a_batch_add_up_their_gradients() -> None:
    model, (x, y) = perceptron()
    batch = (x[:4], y[:4])
    worst, graph = errors(Recipe(model, batch, cross_entropy, O.SGD(model.parameters(), 0.1), accumulate=2))
    whole, _ = errors(Recipe(model, batch, cross_entropy, O.SGD(model.parameters(), 0.1)))
    assert worst < 1e-6
    assert whole < 1e-6
    assert sum(n.op_type == "Relu" for n in graph.model.graph.node) == 2


def test_the_users_objects_are_left_as_they_were() -> None:
    model, batch = perceptron()
    optimizer = O.AdamW(model.parameters(), 1e-2)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model[2].eval()
    recipe = Recipe(model, batch, cross_entropy, optimizer)
    workload = find_exporter("torch").workload(recipe)
    RecipeReference(workload, "training", "float64").step(
        {**workload.example, **workload.initial_values("training", 0)}
    )
    fathom_onnx.export_step(model, batch, cross_entropy, optimizer)
    assert all(torch.equal(t, before[n]) and t.dtype == before[n].dtype for n, t in model.state_dict().items())
    assert [m.training for m in model] == [True, True, False]
    assert not optimizer.state
    assert all(p.grad is None for p in model.parameters())


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return y if y.sum() > 1e9 else 2 * y


def test_a_branch_on_values_is_one_line_and_can_be_specialised() -> None:
    model, (x, y) = Branching(), perceptron()[1]
    optimizer = O.SGD(model.parameters(), 0.1)
    with pytest.raises(
        ExportError, match=r"in layer 'Branching' .*test_steps\.py:\d+.* depends on values; .*specialise"
    ):
        fathom_onnx.export_step(model, (x, y), cross_entropy, optimizer)
    graph = fathom_onnx.export_step(model, (x, y), cross_entropy, optimizer, specialise=True)
    out = fathom_onnx.run_step(graph)["loss"]
    assert float(out) == pytest.approx(float(F.cross_entropy(2 * model.linear(x), y).detach()), rel=1e-5)
