"""Placing a graph among the workloads: exact distances on hand-made profiles, and the command on a small study."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from click.testing import CliRunner

from fathom_onnx.analysis.similarity.nearest import nearest_workloads
from fathom_onnx.analysis.similarity.op_mix import OpMix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.cli import main
from fathom_onnx.errors import RunError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.profiling import profile
from support.graphs.small_models import FLOAT, cnn, model, op
from support.runs.sealing import reseal


def spent(workload: str, framework: str = "torch", mode: str = "inference", **ops: float) -> OpMix:
    return OpMix(RunLabel(workload, framework, mode), pd.DataFrame([ops], dtype=float))


SUITE = (spent("conv", Conv2D=9, Relu=1), spent("dense", MatMul=10), spent("mixed", Conv2D=5, MatMul=5))


def test_distances_and_differences_are_those_of_the_shares() -> None:
    placed = nearest_workloads(spent("mine", "file", MatMul=3, Add=4), SUITE)
    assert [(n.workload, round(n.distance, 6)) for n in placed.neighbours] == [
        ("dense", 0.4),  # cosine of (3, 4) and (1, 0) is 0.6
        ("mixed", round(1 - 0.6 / 2**0.5, 6)),
        ("conv", 1.0),
    ]
    gap = placed.neighbours[0].gaps
    assert {(g.name, round(g.share_a, 4), g.share_b) for g in gap} == {("MatMul", 0.4286, 1.0), ("Add", 0.5714, 0.0)}
    assert placed.shares == (("Add", 4 / 7), ("MatMul", 3 / 7))


def test_the_tree_holds_every_leaf_once_and_says_where_the_graph_joins() -> None:
    placed = nearest_workloads(spent("mine", "file", MatMul=99, Add=1), SUITE)
    assert placed.leaves == ("conv", "dense", "mixed", "mine")
    assert placed.companions == ("dense",)
    assert placed.joins.distance == pytest.approx(placed.neighbours[0].distance)
    assert set(placed.merges[-1].left + placed.merges[-1].right) == set(placed.leaves)


def test_by_class_ops_of_a_class_are_alike() -> None:
    placed = nearest_workloads(spent("mine", "file", Mul=5, Sub=5), (*SUITE, spent("add", Add=1)), "class")
    assert placed.neighbours[0].workload == "add"
    assert placed.neighbours[0].distance == 0
    assert placed.neighbours[0].gaps == ()


def test_a_graph_of_a_workloads_name_is_told_apart() -> None:
    placed = nearest_workloads(spent("conv", "file", Conv2D=1), SUITE)
    assert placed.name == "conv (this graph)"
    assert placed.companions == ("conv",)


@pytest.mark.parametrize("suite", [(), (*SUITE, spent("x", "tensorflow", Add=1)), (*SUITE, spent("conv", Add=1))])
def test_a_suite_is_one_run_a_workload_of_one_framework_and_mode(suite) -> None:
    with pytest.raises(RunError, match="one framework and mode"):
        nearest_workloads(spent("mine", Add=1), suite)


def dense(name: str) -> Graph:
    nodes = [op("MatMul", "x w", "h", "fc/MatMul"), op("Relu", "h", "y", "fc/Relu")]
    made = model(nodes, {"x": (FLOAT, (64, 256))}, {"y": (FLOAT, (64, 256))}, {"w": np.ones((256, 256), np.float32)})
    return from_model(made, name)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cells = []
    for graph in (cnn(), dense("dense")):
        profile(graph, threads=1, warmup=1, steps=2, folder=folder / "runs" / graph.name)
        cell = {"workload": graph.name, "framework": "file", "mode": "inference"}
        cells.append({"cell": cell, "profile": {"folder": f"runs/{graph.name}"}})
    cells.append({"cell": {"workload": "broken", "framework": "file", "mode": "inference"}, "profile": {}})
    held = {"cells": cells, "options": {"preset": "tiny", "ep": "cpu", "threads": 1}}
    (folder / "study.json").write_text(json.dumps(held))
    return folder


BUSY = {"readings_us": [1.0, 1.0], "spread": 0.0, "steady": True, "waited": 0.4}


def rewritten(run: Path, **facts: object) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    reseal(run)


def call(*arguments: str | Path):
    return CliRunner().invoke(main, ["place", *map(str, arguments)])


def test_a_graph_is_run_and_placed(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "mlp.onnx"
    onnx.save(dense("mlp").model, path)
    tree = tmp_path / "tree.svg"
    done = call(path, "--study", study, "--framework", "file", "--steps", "2", "--json", "-o", tree)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["schema"] == "fathom-onnx/place/1"
    assert found["name"] == "mlp"
    assert [n["workload"] for n in found["neighbours"]] == ["dense", "cnn"]
    assert found["neighbours"][0]["distance"] < 0.2 < found["neighbours"][1]["distance"]
    assert found["joins"]["workloads"] == ["dense"]
    # how busy the machine is meanwhile is not the test's to say
    assert [line for line in found["remarks"] if line.startswith("the run's")] == []
    assert tree.read_text().startswith("<svg ")
    assert ">mlp<" in tree.read_text()


def test_a_run_is_placed_as_it_is_and_what_differs_is_said(study: Path, tmp_path: Path) -> None:
    profile(dense("mlp"), threads=2, warmup=0, steps=2, folder=tmp_path / "run")
    done = call(tmp_path / "run", "--study", study, "--framework", "file", "--by", "class")
    assert done.exit_code == 0, done.output
    assert "mlp among the inference runs (file, preset tiny), by op classes" in done.stdout
    assert "in the tree it joins dense at distance" in done.stdout
    assert "note: the run's threads is 2, the suite's 1" in done.stdout
    rewritten(tmp_path / "run", preset="paper", onnxruntime="1.0", cpu=None, optimization="basic", gauge=BUSY)
    done = call(tmp_path / "run", "--study", study, "--framework", "file", "--json")
    remarks = json.loads(done.stdout)["remarks"]
    assert [line.partition(" is ")[0] for line in remarks if line.startswith("the run's")] == [
        *("the run's threads", "the run's optimization", "the run's onnxruntime", "the run's processor"),
        "the run's preset",
    ]
    assert any(line.startswith("the run's processor is unknown, the suite's ") for line in remarks)
    assert "in the run other processes ran: its threads waited for a core 40% of their time" in remarks


def test_runs_of_the_suite_that_are_not_alike_are_said(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    rewritten(tmp_path / "study" / "runs" / "cnn", threads=3, gauge=BUSY)
    rewritten(tmp_path / "study" / "runs" / "dense", gauge=None)
    done = call(study / "runs" / "dense", "--study", tmp_path / "study", "--framework", "file", "--json")
    remarks = json.loads(done.stdout)["remarks"]
    assert "the run's threads is 1, the suite's 3 and 1" in remarks
    assert "1 of the suite's 2 runs were measured on a busy machine" in remarks


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mlp.onnx", "--study", "nowhere"], 3, "no file 'mlp.onnx'"),
        (["RUN", "--study", "nowhere"], 6, "'nowhere' is not a study: it has no study.json"),
        (["RUN", "--study", "STUDY", "--framework", "fyle"], 2, "did you mean 'file'?"),
        (["STUDY", "--study", "STUDY"], 6, "is not a run folder"),
        (["RUN", "-o", "tree.png"], 2, "give one that ends in .svg"),
    ],
)
def test_errors(study: Path, arguments: list[str], code: int, said: str) -> None:
    places = {"STUDY": str(study), "RUN": str(study / "runs" / "dense")}
    done = call(*(places.get(a, a) for a in arguments))
    assert done.exit_code == code, done.output
    assert said in done.output


def test_a_broken_study_is_said(tmp_path: Path, study: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    done = call(study / "runs" / "dense", "--study", tmp_path)
    assert done.exit_code == 6
    assert "study.json' is malformed" in done.output
