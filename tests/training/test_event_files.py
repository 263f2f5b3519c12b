"""Event files of runs that follow each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from fathom_onnx.training.tensorboard import EventFile


@pytest.mark.parametrize("runs", [2, 3])
def test_runs_within_one_second_have_a_file_each_in_their_order(runs: int, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("tensorboardX")
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.5)
    kept: list[bytes] = []
    for run in range(runs):
        with EventFile(tmp_path) as file:
            file.step(run + 1, 0.5)
            file.metrics(run + 1, {f"metric of run {run}": 1.5})
        files = sorted(tmp_path.iterdir())  # the order in which TensorBoard reads them
        assert [path.read_bytes() for path in files[:-1]] == kept
        assert f"held_out/metric_of_run_{run}".encode() in files[-1].read_bytes()
        kept = [path.read_bytes() for path in files]
    assert len(kept) == runs
