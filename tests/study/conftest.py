"""What tests of studies and sweeps share: a lock of their own, stages that do nothing slow, no drawing by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from fathom_onnx.study.engine.lock import LOCK_VARIABLE
from support.fakes.fake_stages import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCK_VARIABLE, str(tmp_path.with_suffix(".lock")))


@pytest.fixture
def drawn() -> None:
    """For tests of the report where :func:`drawn_on_request` is used."""


@pytest.fixture
def drawn_on_request(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No report, which takes a second to draw, but for tests that ask for ``drawn``."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("fathom_onnx.study.report.paper_sections", lambda result: [])
        monkeypatch.setattr("fathom_onnx.study.report.render", lambda report, draw: "")
