"""Products of vectors are matrix products of the graph, whose multiply-accumulates count."""

from __future__ import annotations

import torch
from torch import nn

from fathom_onnx import export_step
from fathom_onnx.analysis.cost import graph_costs


class Products(nn.Module):
    """A matrix [3, 5] and a vector, and the product of two vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.v = nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mv(self.a, self.v).exp().sum() + torch.dot(self.v, x)


def test_they_count() -> None:
    model = Products()
    graph = export_step(model, torch.ones(5), lambda y, _: y, torch.optim.SGD(model.parameters(), 0.1))
    macs = [cost.macs for cost in graph_costs(graph) if cost.macs]
    # forward; in the backward pass the vector's gradient is a product too, the matrix's an outer one without sums
    assert sorted(macs)[:1] == [5]
    assert macs.count(15) >= 2
