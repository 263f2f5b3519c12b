"""Tiny graphs, exported once for all tests."""

from __future__ import annotations

import functools
from collections.abc import Callable

import onnx
import pytest

from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode, NoiseSource

FRAMEWORKS = ("torch", "tensorflow")
WORKLOADS = ("memnet", "speech", "autoenc", "residual", "vgg", "alexnet", "deepq")


@functools.cache
def exported(name: str, framework: str, mode: Mode, noise: NoiseSource = "graph") -> onnx.ModelProto:
    return find_exporter(framework).export(ExportRequest(workload(name, "tiny"), mode, noise))


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Graph]:
    """``tiny("residual", "torch", "training")``: a graph at the tiny preset, the caller's own copy."""

    def make(name: str, framework: str, mode: Mode, noise: NoiseSource = "graph") -> Graph:
        model = onnx.ModelProto()
        model.CopyFrom(exported(name, framework, mode, noise))
        return from_model(model, name)

    return make
