"""onnxruntime tells its maker about sessions unless it is told not to: nothing may leave the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = """
import os
from fathom_onnx.runtime.providers.names import onnxruntime
from support.graphs.small_models import line_inference
ort = onnxruntime()
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(line_inference().model.SerializeToString(), options)
print(len(os.listdir("/proc/self/task")))
"""
NOT_OURS = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI")
"""What else in the environment turns telemetry off."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_no_session_of_ours_is_told_about(tmp_path: Path) -> None:
    """Telemetry has a thread, and a file ``.ses`` in the temporary folder: with it both are there to be seen."""
    threads: dict[str | None, int] = {}
    files: dict[str | None, list[str]] = {}
    for set_to in (None, "0"):
        folder = tmp_path / str(set_to)
        folder.mkdir()
        plain = {
            k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI")
        }
        told = {} if set_to is None else {"ORT_DISABLE_TELEMETRY": set_to}
        environment = {**plain, **told, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", SESSION], env=environment, capture_output=True, text=True, check=True
        )
        threads[set_to], files[set_to] = int(done.stdout), [p.name for p in folder.iterdir()]
    assert files == {None: [], "0": [".ses"]}
    assert threads[None] == threads["0"] - 1
