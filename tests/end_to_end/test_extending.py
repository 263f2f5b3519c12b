"""The documented package of a user's own workload, models and exporter, installed beside ours."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fathom_onnx.cli import main
from fathom_onnx.exporting import frameworks
from fathom_onnx.workloads import names
from support.documents import files


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of ``docs/guide/extending.md``, importable and with its entry points known."""
    found = files("guide/extending.md")
    assert set(found) == {
        *(f"mine/{name}.py" for name in ("workloads", "data", "torch_model", "tensorflow_model", "byhand")),
        "pyproject.toml",
    }
    for path, text in found.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    project = tomllib.loads(found["pyproject.toml"])["project"]
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, rows in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in rows.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def call(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_users_own_workload_and_framework(installed, tmp_path: Path) -> None:
    assert names()[-1] == "perceptron"
    assert frameworks() == ("torch", "byhand", "tensorflow", "jax")
    assert "two linear layers" in call("list")
    shown = call("export", "perceptron", "--framework", "torch", "--mode", "training", "-o", str(tmp_path / "graphs"))
    assert "perceptron-train.onnx" in shown
    assert "6 of 6 comparisons passed" in call("verify", "perceptron", "--mode", "inference")
    for framework in ("torch", "tensorflow"):
        assert "1 of 1" in call("verify", "perceptron", "--mode", "training", "--framework", framework)
    out = call("profile", "perceptron", "--framework", "byhand", "--mode", "inference", "--steps", "2")
    assert "hidden" in out


def test_a_users_own_data(installed, tmp_path: Path) -> None:
    """The workload's own source, a reader of files, and their errors."""
    train = ["train", "perceptron", "--preset", "tiny", "--threads", "1", "--eval-every", "200", "--json"]
    learned = json.loads(call(*train, "--steps", "2000"))
    before, *_, after = [row["value"] for row in learned["metrics"] if row["name"] == "held-out loss"]
    assert learned["source"]["name"] == "largest"
    assert after < 0.8 * before
    points = tmp_path / "points.npy"
    np.save(points, np.random.default_rng(0).normal(size=(200, 6)))
    read = json.loads(call(*train, "--steps", "10", "--data", f"points:{points}"))
    assert read["source"] == {
        "name": f"points:{points}",
        "kind": "real",
        "description": "such points in a file of numpy.save",
    }
    for named, code, said in (
        (f"points:{tmp_path}/none.npy", 6, "none.npy' cannot be read"),
        ("largst", 2, "unknown data source 'largst'; did you mean 'largest'"),
        ("poins:x", 2, "unknown reader of corpora 'poins'; did you mean 'points'"),
    ):
        result = CliRunner().invoke(main, [*train, "--data", named])
        assert (result.exit_code, said in result.output) == (code, True), result.output
    refused = CliRunner().invoke(main, ["train", "autoenc", "--preset", "tiny", "--data", "largest"])
    assert refused.exit_code == 6
    assert "data source 'largest' has no input 'images'" in refused.output


def test_what_an_exporter_cannot_do_is_an_error(installed, tmp_path: Path) -> None:
    arguments = ["export", "perceptron", "autoenc", "--framework", "byhand", "--mode", "training", "--preset", "tiny"]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "graphs")])
    assert result.exit_code == 7
    assert "error: byhand has no gradients; export with --mode inference" in result.output
    assert "error: workload 'autoenc' has no model in byhand" in result.output
    assert "Traceback" not in result.output
