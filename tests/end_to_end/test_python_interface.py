"""The documented Python example, and what importing the package must not do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import fathom_onnx
from support.documents import blocks


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (example,) = blocks("guide/python.md", "python")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(compile(example, "python.md", "exec"), scope)
    out = capsys.readouterr().out
    assert "unknown field 'bach'; did you mean 'batch'?" in out
    losses = scope["losses"]
    assert len(losses) == 50
    assert losses[-1] < losses[0]
    layers = set(scope["run"].by_layer()["name"])
    assert {"encoder.hidden", "sample", "decoder.output"} <= layers
    assert scope["again"].summary() == scope["run"].summary()


def test_every_public_name_is_there() -> None:
    for name in fathom_onnx.__all__:
        assert getattr(fathom_onnx, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fathom_onnx.nothing  # noqa: B018


def test_importing_and_help_are_light() -> None:
    """No framework, no onnxruntime, nothing slow; the time is the best of five, since others may use the machine."""
    code = (
        "import sys, fathom_onnx, fathom_onnx.cli; "
        "heavy = {'torch', 'tensorflow', 'onnxruntime', 'pandas', 'matplotlib', 'sklearn', 'onnx'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
    best = 9.0
    for _ in range(5):
        started = time.perf_counter()
        shown = subprocess.run([sys.executable, "-m", "fathom_onnx", "--help"], capture_output=True, text=True)
        best = min(best, time.perf_counter() - started)
        assert "profile" in shown.stdout
    assert best < 0.3
