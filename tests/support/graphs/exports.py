"""Workloads at the tiny preset, exported once for all tests."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import onnx

from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph.files import write_bytes
from fathom_onnx.workloads import BUILT_IN, workload
from fathom_onnx.workloads.contract import Mode, NoiseSource

FRAMEWORKS = ("torch", "tensorflow")
WORKLOADS = tuple(BUILT_IN)
MODES_OF = [(name, mode) for name in WORKLOADS for mode in workload(name, "tiny").modes]
"""Workload and mode of every graph."""
TRAINED = tuple(name for name, mode in MODES_OF if mode == "training")
"""The workloads that have a training step."""

EXPORTS = "FATHOM_TEST_EXPORTS"
"""Environment variable: a folder that all processes of a test run keep graphs in."""


@functools.cache
def exported(name: str, framework: str, mode: Mode, noise: NoiseSource = "graph") -> onnx.ModelProto:
    """A graph, exported by the first process of a test run that asks for it."""
    folder = os.environ.get(EXPORTS)
    if folder is None:
        return _export(name, framework, mode, noise)
    path = Path(folder) / f"{name}-{framework}-{mode}-{noise}.onnx"
    if not path.is_file():
        write_bytes(path, _export(name, framework, mode, noise).SerializeToString())
    return onnx.load(path)


def _export(name: str, framework: str, mode: Mode, noise: NoiseSource) -> onnx.ModelProto:
    return find_exporter(framework).export(ExportRequest(workload(name, "tiny"), mode, noise))
