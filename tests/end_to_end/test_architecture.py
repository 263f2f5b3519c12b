"""The path of one tensor in ``docs/architecture.md`` has the names of exported graphs."""

from __future__ import annotations

import re

import pytest

import fathom_onnx
from support.paths import DOCS

pytestmark = pytest.mark.slow

TEXT = (DOCS / "architecture.md").read_text().partition("## The path of one tensor")[2].partition("\n## ")[0]
NODES = set(re.findall(r"(?:forward|backward|optimizer)/[\w./]+", TEXT))
TENSORS = set(re.findall(r"`(layer1\.0\.conv1\.weight[\w.]*)`", TEXT))


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_names_are_those_of_the_graph(framework: str) -> None:
    model = fathom_onnx.workload("residual", preset="tiny").export(framework=framework, mode="training").model
    assert len(NODES) == 5
    assert {node.name for node in model.graph.node} >= NODES
    assert len(TENSORS) == 4
    assert {value.name for value in [*model.graph.input, *model.graph.output]} >= TENSORS
