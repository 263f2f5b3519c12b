"""A graph does not depend on what its process exported before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fathom_onnx.exporting import ExportRequest, export_file
from fathom_onnx.workloads import workload

utils = pytest.importorskip("tf2onnx").utils


def test_a_file_is_the_same_whatever_number_names_have_reached(tmp_path: Path, monkeypatch) -> None:
    request = ExportRequest(workload("ppo"), "training")
    found = []
    for start in range(9_800, 9_920, 20):
        monkeypatch.setattr(utils, "INTERNAL_NAME", start)
        found.append(export_file("tensorflow", request, tmp_path / f"{start}.onnx").path.read_bytes())
    assert found == [found[0]] * len(found)
