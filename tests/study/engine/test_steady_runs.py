"""Runs on a machine that changes speed: repeated, at most so often, and marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fathom_onnx.study import Cell, Job, Options
from fathom_onnx.study.engine.runs import ATTEMPTS, measure_steadily


@pytest.mark.parametrize(
    ("steady", "attempts", "marked"),
    [
        ([True], 1, True),
        ([False, True], 2, True),
        ([False, False, True], 3, True),
        ([False, False, False], ATTEMPTS, False),
        ([None], 1, None),  # too few readings to tell
    ],
)
def test_a_run_is_repeated_until_the_machine_keeps_its_speed(
    tmp_path: Path, steady: list[bool | None], attempts: int, marked: bool | None
) -> None:
    ran: list[int] = []

    def measure() -> dict[str, Any]:
        ran.append(len(ran))
        return {"gauge": {"readings_us": [1.0], "spread": 0.1 * len(ran), "steady": steady[ran[-1]]}}

    job = Job(Cell("autoenc", "torch", "inference"), Options(), tmp_path, output=tmp_path / "runs" / "x")
    found = measure_steadily(job, measure)
    assert len(ran) == found["attempts"] == attempts
    assert found["folder"] == "runs/x"
    assert found["gauge"] == {"spread": pytest.approx(0.1 * attempts), "steady": marked, "waited": None}


def test_a_run_without_a_gauge_is_measured_once(tmp_path: Path) -> None:
    job = Job(Cell("autoenc", "torch", "inference"), Options(), tmp_path, output=tmp_path / "x")
    assert measure_steadily(job, dict) == {"folder": "x", "attempts": 1, "gauge": None}
