"""Graphs with open dimensions: timed with fixed sizes, which fold what depends on them, or as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.graph import load
from fathom_onnx.profiling import profile
from support.graphs.small_models import FLOAT, INT64, model, op


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The mean of a product's rows as a sum and a division by their number, which is a constant where n is fixed."""
    made = model(
        [
            op("MatMul", "x w", "p", "fc"),
            op("ReduceSum", "p axis", "sum", "sum", keepdims=0),
            op("Shape", "x", "s", "shape"),
            op("Gather", "s zero", "n", "rows", axis=0),
            op("Cast", "n", "f", "float", to=FLOAT),
            op("Div", "sum f", "y", "mean"),
        ],
        {"x": (FLOAT, ["n", 6])},
        {"y": (FLOAT, [5])},
        {"zero": np.int64(0), "axis": np.array([0]), "w": np.ones((6, 5), np.float32)},
    )
    onnx.save(made, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_fixed_sizes_say_what_they_fold(path: Path) -> None:
    run = profile(load(path, {"n": 4}), threads=1, warmup=1, steps=2)
    assert run.manifest["dynamic"] == {
        "sizes": {"n": 4},
        "kept_open": False,
        "only_when_open": {"Cast": 1, "Gather": 1, "Shape": 1},
    }
    assert set(run.nodes["op_type"]) == {"MatMul", "ReduceSum", "Div"}


def test_open_dimensions_can_stay_open(path: Path) -> None:
    run = profile(load(path, {"n": 4}), threads=1, warmup=1, steps=2, keep_dynamic=True)
    assert run.manifest["dynamic"] == {"sizes": {"n": 4}, "kept_open": True, "only_when_open": None}
    assert sorted(run.nodes["op_type"]) == ["Cast", "Div", "Gather", "MatMul", "ReduceSum", "Shape"]
    assert run.kind_us("unattributed") == 0
    product = run.originals.set_index("name").loc["fc"]
    assert product["macs"] == 4 * 6 * 5


def test_the_command_says_it(path: Path) -> None:
    told = CliRunner().invoke(main, ["profile", str(path), "--dim", "n=4", "--threads", "1", "--steps", "2"])
    assert told.exit_code == 0
    assert "n = 4, fixed; with these open onnxruntime would also run 1 Cast, 1 Gather, 1 Shape (--keep-" in told.stdout
    kept = CliRunner().invoke(
        main, ["profile", str(path), "--dim", "n=4", "--threads", "1", "--steps", "2", "--keep-dynamic"]
    )
    assert kept.exit_code == 0
    assert "n = 4, fed to the graph with these open" in kept.stdout


def test_a_graph_without_open_dimensions_has_nothing_to_say(tmp_path: Path) -> None:
    onnx.save(model([op("Neg", "x", "y")], {"x": (INT64, [2])}, {"y": (INT64, [2])}), tmp_path / "m.onnx")
    assert profile(load(tmp_path / "m.onnx"), threads=1, warmup=0, steps=1).manifest["dynamic"] is None
