"""The graphs in git are what is exported today, and the index says what they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fathom_exporters.jax import jaxprs
from fathom_exporters.jax.translate import convert
from fathom_onnx.exporting import ExportRequest, export_file, graph_path
from fathom_onnx.workloads import SUITES, USUAL_SUITE, workload
from fathom_onnx.workloads.contract import MODES
from support.paths import GRAPHS

FRAMEWORKS = ("torch", "tensorflow", "jax")

INDEX = {row["path"]: row for row in json.loads((GRAPHS / "index.json").read_text())["graphs"]}


def test_every_graph_is_there_and_indexed() -> None:
    suite = [d.name for d in SUITES[USUAL_SUITE]]
    wanted = {graph_path(GRAPHS, w, f, m).relative_to(GRAPHS) for w in suite for f in FRAMEWORKS for m in MODES}
    assert {path.relative_to(GRAPHS) for path in GRAPHS.rglob("*.onnx")} == wanted
    assert set(INDEX) == {path.as_posix() for path in wanted}
    assert sum(path.stat().st_size for path in GRAPHS.rglob("*.onnx")) < 25e6


EXACT = {"add", "convert_element_type", "div", "mul", "ne", "neg", "not", "slice", "sub"}
"""JAX's primitives whose result IEEE 754 fixes to the last bit, or that compute nothing: the same on every machine."""


@pytest.mark.parametrize("name", sorted(INDEX))
def test_a_committed_graph_is_what_is_exported(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: set[str] = set()

    def recorded(equation: Any, given: Any) -> Any:
        computed.add(equation.primitive.name)
        return jaxprs.evaluate(equation, given)

    monkeypatch.setattr(convert, "evaluate", recorded)
    row = INDEX[name]
    committed = (GRAPHS / name).read_bytes()
    assert hashlib.sha256(committed).hexdigest() == row["sha256"]
    request = ExportRequest(workload(row["workload"]), row["mode"])
    made = export_file(row["framework"], request, tmp_path / "graph.onnx")
    assert made.path.read_bytes() == committed, "run `make graphs` and commit what changed"
    assert made.nodes == row["nodes"]
    assert computed <= EXACT  # constants that XLA computes


HASHES = {row["path"]: row for row in json.loads((GRAPHS / "2026.json").read_text())["graphs"]}


@pytest.mark.parametrize("name", sorted(path for path, row in HASHES.items() if row["workload"] in ("dlrm", "ppo")))
def test_a_graph_that_is_made_by_a_command_has_its_hash(name: str, tmp_path: Path) -> None:
    row = HASHES[name]
    made = export_file(row["framework"], ExportRequest(workload(row["workload"]), row["mode"]), tmp_path / "graph.onnx")
    found = hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert found == row["sha256"], f"run `benchmarks/graph_index.py --hashes {row['workload']}` and commit"
    assert made.nodes == row["nodes"]


def test_macs_of_residual() -> None:
    # 3,663,761,408 multiply-accumulates an image of the 34-layer network (He et al. 2015 print 3.6 billion)
    assert INDEX["residual.onnx"]["macs"] == 16 * 3_663_761_408
    assert INDEX["residual.onnx"]["macs"] == INDEX["tensorflow/residual.onnx"]["macs"]
    first = 112 * 112 * 64 * 3 * 7 * 7 * 16  # no gradient for the images
    assert INDEX["residual-train.onnx"]["macs"] == 3 * INDEX["residual.onnx"]["macs"] - first


def test_every_framework_does_the_same_work() -> None:
    """Multiply-accumulates and parameters of a workload and mode are those of the paper's model, whoever writes it."""
    found: dict[tuple[str, str], set[tuple[int, int, int]]] = {}
    for row in INDEX.values():
        numbers = row["macs"], row["macs_by_definition"], row["parameters"]
        found.setdefault((row["workload"], row["mode"]), set()).add(numbers)
    assert {key: len(numbers) for key, numbers in found.items()} == dict.fromkeys(found, 1)


@pytest.mark.parametrize("folder", ["", "tensorflow/", "jax/"])
def test_macs_of_deepq(folder: str) -> None:
    """Forward twice, filter gradients, and input gradients of all layers but the first; no convolution pads."""
    convolutions = [(20, 32, 4 * 8 * 8), (9, 64, 32 * 4 * 4), (7, 64, 64 * 3 * 3)]
    layers = [32 * side**2 * filters * products for side, filters, products in convolutions]
    layers += [32 * 64 * 7 * 7 * 512, 32 * 512 * 4]
    row = INDEX[f"{folder}deepq-train.onnx"]
    assert row["macs_by_definition"] == 4 * sum(layers) - layers[0]
    # the input gradients of the second and third convolution are written over a border of zeros
    padded = 32 * (10**2 - 9**2) * 64 * 512 + 32 * (9**2 - 7**2) * 64 * 576
    assert row["macs"] == row["macs_by_definition"] + padded
    others = [r for r in INDEX.values() if r["workload"] != "deepq" or r["mode"] == "inference"]
    assert all(r["macs"] == r["macs_by_definition"] for r in others)
