"""Sweeps over graph files: sizes of their open dimensions as axes, beside workloads, stored like any other work."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from fathom_onnx.cli import main
from fathom_onnx.errors import FathomError, GraphError, UnknownNameError, UsageError
from fathom_onnx.study import Axes, Job, sweep_plan
from fathom_onnx.study.engine.inputs import export_inputs, profile_inputs


def graph(path: Path, *shapes: list[int | str | None]) -> Path:
    """A product for each input with itself; all inputs have these shapes."""
    inputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(shapes)]
    nodes = [helper.make_node("Mul", [x.name, x.name], [f"y{x.name}"], f"/mul/{x.name}") for x in inputs]
    outputs = [helper.make_tensor_value_info(f"y{x.name}", TensorProto.FLOAT, None) for x in inputs]
    made = helper.make_graph(nodes, "g", inputs, outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def axes(*graphs: Path, **changes: Any) -> Axes:
    return replace(Axes(threads=(1,), graphs=graphs), **changes)


def sizes(plan: tuple[Job, ...]) -> list[tuple[str, dict[str, int], int | None]]:
    return [(job.cell.workload, dict(job.options.dimensions), job.batch) for job in plan]


def test_every_combination_of_sizes(tmp_path: Path) -> None:
    decoder = graph(tmp_path / "decoder.onnx", ["batch", "past + 1"], ["batch", "past"])
    plan = sweep_plan(
        tmp_path, axes(decoder, batches=(1, 8, 1), dimensions={"past": (0, 9)}, threads=(1, 2), optimizations=("none",))
    )
    assert len(set(plan)) == len(plan) == 8
    assert sizes(plan[::2]) == [
        ("decoder", {"past": past, "batch": batch}, batch) for past in (0, 9) for batch in (1, 8)
    ]
    assert {(job.graph(), str(job.cell), job.options.optimization) for job in plan} == {
        (decoder, "decoder inference (file)", "none")
    }
    assert plan[0].name == ("decoder inference (file) past=0 batch=1 on cpu, threads 1, optimization none")
    assert len({tuple(profile_inputs(job).items().__repr__()) for job in plan}) == 8
    assert len({export_inputs(job)["graph"] for job in plan}) == 1


def test_files_take_the_sizes_of_the_names_that_they_have(tmp_path: Path) -> None:
    first = graph(tmp_path / "a" / "net.onnx", ["n", "seq"])
    second = graph(tmp_path / "b" / "net.onnx", ["n", 4])
    fixed = graph(tmp_path / "fixed net.onnx", [2, 2])
    plan = sweep_plan(tmp_path, axes(first, second, fixed, first, batches=(3,), dimensions={"seq": (5, 6)}))
    assert sizes(plan) == [
        ("net", {"seq": 5, "n": 3}, 3),
        ("net", {"seq": 6, "n": 3}, 3),
        ("net-2", {"n": 3}, 3),
        ("fixed_net", {}, None),
    ]
    # a whole expression, a name without one
    plan = sweep_plan(tmp_path, axes(graph(tmp_path / "c.onnx", ["2*n", None]), dimensions={"2*n": (8,), "x0.1": (0,)}))
    assert sizes(plan) == [("c", {"2*n": 8, "x0.1": 0}, None)]


def test_only_files_are_run_where_only_files_are_named(tmp_path: Path) -> None:
    net = graph(tmp_path / "net.onnx", [2])
    assert len(sweep_plan(tmp_path, axes(net))) == 1
    both = sweep_plan(tmp_path, axes(net, workloads=["autoenc"], frameworks=["torch"], modes=["inference"]))
    assert [job.cell.workload for job in both] == ["autoenc", "net"]


@pytest.mark.parametrize(
    ("shapes", "changes", "error", "message"),
    [
        ([["n", "s"]], {"batches": (1,)}, GraphError, "give one with --dim s=N"),
        ([["n", "s"]], {}, GraphError, "give them with --dim n=N --dim s=N"),
        ([["n"]], {"dimensions": {"m": (1,)}}, UnknownNameError, "unknown dynamic dimension 'm'; known: n"),
        ([["n"]], {"batches": (1,), "dimensions": {"n": (2,)}}, UsageError, "given twice"),
        ([["n"], ["m"]], {"batches": (1,)}, UsageError, "n, m come first.*--dim n=N --dim m=N"),
        ([[2]], {"batches": (1,)}, UsageError, "no graph has an open batch dimension"),
        ([["n - 1"]], {"dimensions": {"n": (1, 0)}}, UsageError, "dimension 'n - 1' would be -1 with n=0"),
        ([["n"]], {"dimensions": {"n": (-1,)}}, UsageError, "dimension 'n' cannot be '-1'"),
    ],
)
def test_what_cannot_be_swept_is_said_first(
    tmp_path: Path, shapes: list[Any], changes: dict[str, Any], error: type[FathomError], message: str
) -> None:
    with pytest.raises(error, match=message):
        sweep_plan(tmp_path, axes(graph(tmp_path / "net.onnx", *shapes), **changes))


def test_sizes_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is none"):
        sweep_plan(tmp_path, Axes(workloads=["autoenc"], dimensions={"n": (1,)}))
    with pytest.raises(GraphError, match="no file"):
        sweep_plan(tmp_path, axes(tmp_path / "none.onnx"))


def test_stored_results_depend_on_the_file_and_the_sizes(tmp_path: Path) -> None:
    net = graph(tmp_path / "net.onnx", ["n"])
    one, two = sweep_plan(tmp_path, axes(net, dimensions={"n": (1, 2)}))
    before = [profile_inputs(job) for job in (one, two)]
    assert before[0] != before[1]
    assert one.options.json()["dimensions"] == (("n", 1),)
    assert "dimensions" not in Job(one.cell, replace(one.options, dimensions=()), tmp_path).options.json()
    graph(net, ["n"], ["n"])
    assert profile_inputs(one) != before[0]
    assert export_inputs(one)["graph"] == profile_inputs(one)["graph"]


def test_the_command(tmp_path: Path) -> None:
    net = graph(tmp_path / "net.onnx", ["n", "s"])
    bad = graph(tmp_path / "bad.onnx", ["n", 3], [2, "s"])
    model = onnx.load(bad)
    model.graph.node[1].op_type = "NoSuchOp"
    onnx.save(model, bad)
    arguments = ["sweep", str(net), str(bad), "--batch", "2", "--dim", "s=3,4", "--steps", "1", "--warmup", "0"]
    arguments += ["--threads", "1", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output  # of the cells of one file that fail, the others go on
    with (tmp_path / "out" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ("workload", "framework", "batch", "changes", "state", "preset")
    assert [tuple(row[c] for c in columns) for row in rows] == [
        ("net", "file", "2", "s=3 n=2", "done", ""),
        ("net", "file", "2", "s=4 n=2", "done", ""),
        ("bad", "file", "2", "s=3 n=2", "failed", ""),
        ("bad", "file", "2", "s=4 n=2", "failed", ""),
    ]
    assert rows[0]["graph"] == str(net)
    assert float(rows[0]["control_us"]) > 0
    assert len({row["cell"] for row in rows}) == 4
    assert "--custom-ops" in rows[2]["error"]
    again = CliRunner().invoke(main, arguments[:2] + arguments[3:])
    assert again.exit_code == 0, again.output
    assert again.stderr.count("reused") == 5  # the look at the file, its two runs, measured and explained
