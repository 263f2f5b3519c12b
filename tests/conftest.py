"""Tiny graphs, exported once for all tests, which tests are slow, and how random inputs are drawn."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import onnx
import pytest
from hypothesis import HealthCheck, settings

from fathom_onnx.graph import Graph, from_model
from fathom_onnx.workloads.contract import Mode, NoiseSource
from support.graphs.exports import EXPORTS, exported
from support.paths import ROOT

settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", settings.get_profile("random"), derandomize=True)
settings.load_profile("fixed")
# the same inputs in every run and no deadline, so that only a change can make a test fail, and no busy machine;
# ``--hypothesis-profile=random`` searches

SLOW_FOLDERS = ("end_to_end", "exporters", "simulators", "verification")
"""Folders below ``tests/`` whose every test loads a framework or runs a tool; tests elsewhere are marked one by one."""


def pytest_configure(config: pytest.Config) -> None:
    """The processes of a run share a folder for graphs, which goes with the one that started them."""
    if EXPORTS not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="fathom-exports-")
        os.environ[EXPORTS] = folder.name
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop(EXPORTS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        exports = "tiny" in getattr(item, "fixturenames", ())
        if exports or item.path.relative_to(ROOT / "tests").parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Packed bytes hold the time of packing, and every process of a run must name its tests alike."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Graph]:
    """``tiny("residual", "torch", "training")``: a graph at the tiny preset, the caller's own copy."""

    def make(name: str, framework: str, mode: Mode, noise: NoiseSource = "graph") -> Graph:
        model = onnx.ModelProto()
        model.CopyFrom(exported(name, framework, mode, noise))
        return from_model(model, name)

    return make
