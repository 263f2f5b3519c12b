"""Compiled runs without a framework: what is said of one, its folder, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fathom_onnx import plugins
from fathom_onnx.analysis.runs.compiled import SCHEMA, CompiledRun
from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, OutputError, UsageError
from fathom_onnx.native import CompiledKernel, CompiledMeasurement, NativeRequest, Progress
from fathom_onnx.native_profiling import profile_compiled
from fathom_onnx.workloads import workload

KERNELS = (
    CompiledKernel("aten::addmm", "library", "MatMul", 30.0, 2),
    CompiledKernel("cpp_fused_add_0", "generated", "", 15.0, 3),
    CompiledKernel("cpp_fused_mul_1", "generated", "", 5.0, 1),
)


class Fake:
    framework = "fake"
    kernels: tuple[CompiledKernel, ...] | None = KERNELS

    def version(self) -> str:
        return "1.2"

    def workloads(self) -> tuple[str, ...]:
        return ("autoenc",)

    def compiled(self, request: NativeRequest, progress: Progress) -> CompiledMeasurement:
        progress("compiled", 1, 1)
        return CompiledMeasurement(
            "fakec: all",
            2_000_100.0,
            (100.0, 90.0, 120.0, 100.0, 110.0),
            Fake.kernels,
            "much",
            {"loss": np.float32(2.5)},
        )


class WithoutCompiler(Fake):
    compiled = property()  # type: ignore[assignment]


class Point:
    def __init__(self, name: str, made: type) -> None:
        self.name, self._made = name, made

    def load(self) -> type:
        return self._made


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Point("fake", Fake), Point("plain", WithoutCompiler)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "fathom_onnx.natives" else [])
    monkeypatch.setattr(Fake, "kernels", KERNELS)


def test_what_a_run_says(tmp_path: Path) -> None:
    run = profile_compiled(workload("autoenc", "tiny"), "fake", threads=1, warmup=1, steps=5, folder=tmp_path / "run")
    said = run.summary()
    assert (said["schema"], said["step_us"], said["quartiles_us"]) == (SCHEMA, 100.0, [100.0, 110.0])
    assert (said["fastest_us"], said["slowest_us"], said["compile_s"]) == (90.0, 120.0, 2.0)
    assert said["by_kind"] == {
        "library": {"us": 30.0, "share": 0.6, "kernels": 1, "calls": 2},
        "generated": {"us": 20.0, "share": 0.4, "kernels": 2, "calls": 4},
    }
    assert run.manifest["first_loss"] == 2.5
    assert CompiledRun.load(tmp_path / "run").summary() == said


def test_a_compiler_that_shows_no_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Fake, "kernels", None)
    said = profile_compiled(workload("autoenc", "tiny"), "fake", folder=tmp_path).summary()
    assert (said["by_kind"], said["kernels"]) == (None, None)
    assert CompiledRun.load(tmp_path).summary() == said


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain has no compiler"):
        profile_compiled(workload("autoenc", "tiny"), "plain")
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="not the folder of a compiled run"):
        profile_compiled(workload("autoenc", "tiny"), "fake", folder=tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({"schema": "fathom-onnx/compiled/0"}), json.dumps({"schema": SCHEMA})]
)
def test_a_spoilt_folder_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "compiled.json").write_text(text)
    with pytest.raises(DataError):
        CompiledRun.load(tmp_path)


def call(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command() -> None:
    result = call("profile", "autoenc", "--runtime", "fake", "--compiled", "--preset", "tiny", "--top", 1)
    assert result.exit_code == 0, result.output
    for said in ("fakec: all", "2.0 s longer", "library", "60.0%", "unknown: much"):
        assert said in result.stdout
    assert "cpp_fused" not in result.stdout
    found = json.loads(
        call("profile", "autoenc", "--runtime", "fake", "--compiled", "--preset", "tiny", "--json").stdout
    )
    assert found["compile_s"] == 2.0
    refused = call("profile", "autoenc", "--compiled")
    assert refused.exit_code == 2
    assert "onnxruntime has no compiler" in refused.stderr
