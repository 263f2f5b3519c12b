"""What the modules of a study import."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["fathom_onnx.study", "fathom_onnx.study.engine.engine", "fathom_onnx.study.engine.stages"]
)
def test_the_scheduler_loads_no_drawing(module: str) -> None:
    """Worker processes import it: what only draws would slow each of them down."""
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert not {"matplotlib", "jinja2", "fathom_onnx.analysis.report", "fathom_onnx.study.sections"} & set(loaded)
