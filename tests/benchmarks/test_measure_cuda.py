"""The tables that a machine with a device fills, on made-up results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fathom_onnx.errors import MissingDependencyError
from fathom_onnx.graph import from_model
from fathom_onnx.runtime.providers.names import check_provider
from fathom_onnx.workloads import workload
from support.graphs.small_models import FLOAT, model, op
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import cuda_jobs
import measure_cuda as measure

SUMMARY: dict[str, Any] = {
    "executed_nodes": 1234,
    "control_us": 2000.0,
    "step_us": 2100.0,
    "node_time_us": 900.0,
    "attributed_us": 880.0,
    "charged_us": 11.0,
    "device_copies": [{}, {}],
    "elsewhere": [{}],
    "device_time": {
        "span_us": 1500.0,
        "kernel_us": 900.0,
        "idle_us": 600.0,
        "outside_nodes_us": 100.0,
        "unprofiled": {"step_us": 2040.0, "recording_overhead_us": 40.0},
    },
}
GPU = {"name": "A Card", "memory_bytes": 80 * 2**30, "driver": "580.65", "cuda": "13.0", "cudnn": None}


def test_a_row_of_a_graph() -> None:
    results = {
        "run graphs/vgg.onnx": SUMMARY,
        "difference graphs/vgg.onnx": {"worst": "logits", "error": 2e-6, "outputs": 1},
        "run graphs/tensorflow/vgg.onnx": {"error": "not done within 300 s"},
        "run graphs/deepq.onnx": {**SUMMARY, "device_time": None},
    }
    rows = {row[0]: row[1:] for row in measure.graph_rows(results)}
    numbers = ["1,234", "2.000", "1.500", "0.900", "40.00%", "89.10%", "2.00%", "5.00%", "2", "1", "2.0e-06 (logits)"]
    assert rows["vgg"] == numbers
    assert rows["tensorflow/vgg"] == ["not done within 300 s", *[""] * 10]
    assert rows["deepq"] == ["1,234", "2.000", "", "", "", "", "", "5.00%", "2", "1", ""]
    assert measure.attributed_share(SUMMARY) == pytest.approx(0.891)
    assert measure.attributed_share({"device_time": None}) is None


def test_rows_of_steps_and_checks() -> None:
    results = {
        "eager vgg": {"step_us": 3000.0, "span_us": 2900.0},
        "run graphs/vgg-train.onnx": SUMMARY,
        "lowered vgg": {**SUMMARY, "control_us": 1500.0},
        "eager deepq": {"error": "too little memory"},
        "run graphs/deepq-train.onnx": SUMMARY,
        "lowered deepq": SUMMARY,
        "eager alexnet": {"step_us": 1.0},
        "verify vgg": {
            "checks": [
                {
                    "mode": "training",
                    "passed": False,
                    "faults": ["loss is off by 1.0e-01"],
                    "loss": 0.1,
                    "gradient": {"error": 2e-5},
                    "state": {"error": 3e-6},
                    "single": {"error": 1.25},
                }
            ]
        },
    }
    found = {row[0]: row[1:] for row in measure.step_rows(results)}
    assert found == {
        "vgg": ["3.000", "2.900", "2.000", "1.500", "1.500", "1.500", "2.00", ""],
        "deepq": ["", "", "2.000", "1.500", "2.000", "1.500", "", "eager: too little memory"],
    }
    assert measure.check_rows(results) == [
        ["vgg", "training", "loss is off by 1.0e-01", "1.0e-01", "2.0e-05", "3.0e-06", "1.2"]
    ]


def test_the_section_and_its_place() -> None:
    text = measure.section({"run graphs/vgg.onnx": SUMMARY}, GPU, "1.31.1", 20)
    assert "Measured on A Card (80 GiB), driver 580.65, CUDA 13.0, cuDNN unknown" in text
    assert "1 of 120 jobs" in text
    assert text.count("Not measured.") == 2
    assert measure.MARKS[0] in measure.DOCUMENT.read_text()


def test_every_graph_and_workload_has_its_jobs() -> None:
    assert len(measure.jobs()) == 2 * 48 + 3 * 8
    assert set(measure.jobs("autoenc-train")) == {
        f"{kind} graphs/{folder}autoenc-train.onnx"
        for folder in ("", "tensorflow/", "jax/")
        for kind in ("run", "difference")
    }


def test_jobs_are_kept_and_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    identity = {"device": "A Card", "steps": 20}
    called: list[str] = []

    def ran(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append(command[2])
        if command[2] == "slow":
            raise subprocess.TimeoutExpired(command, 1)
        if command[2] == "bad":
            return subprocess.CompletedProcess(command, 1, "", "warning\nerror: it failed\n")
        Path(command[3]).write_text(json.dumps({"told": command[2]}))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(measure.subprocess, "run", ran)
    measure.carry_out(["one", "bad", "slow"], tmp_path, identity, 1, 60)
    assert measure.stored(tmp_path, identity) == {
        "one": {"told": "one"},
        "bad": {"error": "error: it failed"},
        "slow": {"error": "not done within 1 s"},
    }
    assert measure.stored(tmp_path, {**identity, "device": "Another"}) == {}
    called.clear()
    measure.carry_out(["one", "bad"], tmp_path, identity, 1, 60)
    assert called == ["bad"]
    measure.carry_out(["new", "newer"], tmp_path, identity, 1, 0)
    assert "the time is up: 2 jobs are left" in capsys.readouterr().err
    assert called == ["bad"]


def test_without_a_device_it_says_so() -> None:
    try:
        check_provider("cuda")
    except MissingDependencyError:
        pass
    else:
        pytest.skip("there is a device")
    command = [sys.executable, str(ROOT / "benchmarks" / "measure_cuda.py"), "--tables"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 4
    assert "error: there is nothing to measure on: provider 'cuda' needs" in done.stderr


def test_noise_becomes_an_input(tmp_path: Path) -> None:
    nodes = [
        op("RandomUniform", "", "u", "draw", shape=[4], low=2.0, high=3.0),
        op("RandomNormal", "", "n", "draw2", shape=[4]),
        op("Add", "u n", "v", "both"),
        op("Mul", "x v", "y", "use"),
    ]
    made = model(nodes, {"x": (FLOAT, (4,))}, {"y": (FLOAT, (4,))})
    graph, values = cuda_jobs.with_noise_given(from_model(made, "noise"))
    assert [n.op_type for n in graph.model.graph.node] == ["Add", "Mul"]
    assert [t.name for t in graph.inputs] == ["x", "u", "n"]
    assert ((values["u"] >= 2) & (values["u"] < 3)).all()
    again = cuda_jobs.with_noise_given(from_model(made, "noise"))[1]
    assert all(np.array_equal(values[name], again[name]) for name in values)
    onnx.save(made, tmp_path / "noise.onnx")
    assert cuda_jobs.difference(tmp_path / "noise.onnx", "cpu") == {"worst": "y", "error": 0.0, "outputs": 1}


def test_the_eager_step_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_jobs, "workload", lambda name: workload(name, "tiny"))
    found = cuda_jobs.eager("deepq", 2, "cpu")
    assert found["step_us"] > 0
    assert found["span_us"] is None
