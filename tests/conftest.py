"""Tiny graphs, exported once for all tests."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from fathom_onnx.graph import Graph, from_model
from fathom_onnx.workloads.contract import Mode, NoiseSource
from support.exports import exported


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Graph]:
    """``tiny("residual", "torch", "training")``: a graph at the tiny preset, the caller's own copy."""

    def make(name: str, framework: str, mode: Mode, noise: NoiseSource = "graph") -> Graph:
        model = onnx.ModelProto()
        model.CopyFrom(exported(name, framework, mode, noise))
        return from_model(model, name)

    return make
