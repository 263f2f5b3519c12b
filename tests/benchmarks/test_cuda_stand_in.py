"""What onnxruntime-gpu does with graphs, without a device: where ``FATHOM_GPU_PYTHON`` names a Python with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fathom_onnx.compat import cuda_kernels
from support.paths import ROOT

TOOL = str(ROOT / "benchmarks" / "cuda_stand_in.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = os.environ.get("FATHOM_GPU_PYTHON")
    if not python:
        pytest.skip("FATHOM_GPU_PYTHON names no Python with onnxruntime-gpu")
    if not (shutil.which("gcc") and shutil.which("readelf") and shutil.which("strings")):
        pytest.skip("gcc or binutils is not installed")
    made = tmp_path_factory.mktemp("stand-in")
    subprocess.run([python, TOOL, "libraries", str(made)], check=True, capture_output=True)
    return made


def ask(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    command = [os.environ["FATHOM_GPU_PYTHON"], *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment).stdout


def test_the_table_is_the_registry(folder: Path) -> None:
    assert cuda_kernels._parsed(ask(folder, TOOL, "kernels")) == cuda_kernels.KERNELS


def test_graphs_are_placed_on_the_device(folder: Path) -> None:
    graphs = ["graphs/memnet-train.onnx", "graphs/tensorflow/autoenc.onnx"]
    placed = ask(folder, TOOL, "place", *graphs).splitlines()
    assert placed == [
        "graphs/memnet-train.onnx {'CUDAExecutionProvider': 306} 0 copies",
        "graphs/tensorflow/autoenc.onnx {'CUDAExecutionProvider': 13} 0 copies",
    ]
