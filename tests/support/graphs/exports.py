"""Workloads at the tiny preset, exported once for all tests."""

from __future__ import annotations

import functools

import onnx

from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.workloads import BUILT_IN, workload
from fathom_onnx.workloads.contract import Mode, NoiseSource

FRAMEWORKS = ("torch", "tensorflow")
WORKLOADS = tuple(BUILT_IN)
MODES_OF = [(name, mode) for name in WORKLOADS for mode in workload(name, "tiny").modes]
"""Workload and mode of every graph."""
TRAINED = tuple(name for name, mode in MODES_OF if mode == "training")
"""The workloads that have a training step."""


@functools.cache
def exported(name: str, framework: str, mode: Mode, noise: NoiseSource = "graph") -> onnx.ModelProto:
    return find_exporter(framework).export(ExportRequest(workload(name, "tiny"), mode, noise))
