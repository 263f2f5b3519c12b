"""Verification finds every single random fault that changes what a graph computes."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from fathom_onnx.exporting import read_recipe
from fathom_onnx.recipes import Recipe
from support.mutating import KINDS, Trials, mutated


@lru_cache
def attention() -> Trials:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.q(x) @ self.k(x).mT / 2).softmax(-1) @ self.v(x)

    torch.manual_seed(0)
    model = Attention()
    batch = (torch.randn(2, 3, 4), torch.randn(2, 3, 4))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    workload = read_recipe(Recipe(model, batch, lambda y, b: ((y - b[1]) ** 2).mean(), optimizer))
    return Trials(workload, "torch")


def test_the_graph_itself_passes() -> None:
    assert attention().faults() == ()


def test_no_fault_passes() -> None:
    rng = np.random.default_rng(1)
    drawn = [attention().trial(kind, rng) for kind in KINDS for _ in range(3)]
    trials = [trial for trial in drawn if trial is not None]
    assert [trial.told for trial in trials if trial.outcome == "hole"] == []
    assert Counter(trial.outcome for trial in trials)["found"] >= 15


def test_a_mutation_changes_one_thing() -> None:
    shape = [2, 3]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"]
    output = helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)
    model = helper.make_model(
        helper.make_graph([helper.make_node("Sub", ["a", "b"], ["c"], "forward/x/Sub")], "g", inputs, [output])
    )
    told, swapped = mutated(model, "operands swapped", np.random.default_rng(0))
    assert told == "operands of Sub swapped: forward/x/Sub"
    assert list(swapped.graph.node[0].input) == ["b", "a"]
    assert list(model.graph.node[0].input) == ["a", "b"]
    told, dropped = mutated(model, "operand dropped", np.random.default_rng(0))
    assert dropped.graph.node[0].op_type == "Identity"
    onnx.checker.check_model(dropped)
