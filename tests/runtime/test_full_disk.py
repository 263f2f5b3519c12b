"""A disk that is full, for which a limit of the size of files stands: what is blamed."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from support.graphs.small_models import cnn


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 2_000])
def test_an_optimized_model_that_cannot_be_saved_is_no_fault_of_the_graph(tmp_path: Path, size: int) -> None:
    """The first size is too small for the model itself, the second for its weights beside it."""
    graph = tmp_path / "cnn.onnx"
    graph.write_bytes(cnn().model.SerializeToString())
    command = [sys.executable, "-m", "fathom_onnx", "profile", str(graph), "--threads", "1", "--steps", "2"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode == 5, done.stderr
    assert "onnxruntime cannot write" in done.stderr
    assert "free some space or choose another folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cnn.onnx"]
