"""Where op mixes differ from the paper's: which ops are listed, and what the parts of a model add up to."""

from __future__ import annotations

import pandas as pd
import pytest

from fathom_onnx.analysis.paper.differences import MOVES, Move, differences_from_paper
from fathom_onnx.analysis.paper.reported import FIGURE_3
from fathom_onnx.workloads import workload as make_workload

TORCH = {"MatMul": 0.70, "Mul": 0.05, "Add": 0.07, "TanhGrad": 0.18}
TENSORFLOW = {"MatMul": 0.60, "Mul": 0.05, "Add": 0.05, "TanhGrad": 0.30}


def test_ops_that_are_far_from_the_figure_are_listed_by_how_far() -> None:
    found = differences_from_paper({"seq2seq": {"torch": TORCH, "tensorflow": TENSORFLOW}, "mine": {"torch": TORCH}})
    # Figure 3: Mul 35, MatMul 32, Tile 20, Add 3; TanhGrad is not in it
    assert [(d.op, round(d.points, 3)) for d in found] == [
        ("MatMul", 0.33),
        ("Mul", -0.30),
        ("TanhGrad", 0.24),
        ("Tile", -0.20),
    ]
    assert dict(found[0].ours) == {"torch": 0.70, "tensorflow": 0.60}
    assert found[3].paper == 0.20


def test_what_is_as_in_the_paper_is_not_listed() -> None:
    same = {op: percent / 100 for op, percent in FIGURE_3["memnet"].items()}
    assert differences_from_paper({"memnet": {"torch": same}}) == []
    assert differences_from_paper({"memnet": {}}) == []


def move(workload: str, part: str) -> Move:
    return next(m for m in MOVES if (m.workload, m.part) == (workload, part))


LAYER_OPS = pd.DataFrame(
    {
        "MatMul": [5.0, 50.0, 10.0, 0.0],
        "Tanh": [2.0, 8.0, 0.0, 0.0],
        "ApplyGradientDescent": [1.0, 3.0, 0.0, 1.0],
        "Reshape": [20.0, 0.0, 0.0, 0.0],
    },
    index=["attention.score", "decoder.lstm1", "projection", "encoder.embedding"],
)


def test_a_part_is_what_runs_in_its_layers() -> None:
    assert move("seq2seq", "attention").ours(LAYER_OPS) == {"Reshape": 0.2, "MatMul": 0.05, "Tanh": 0.02}
    assert move("seq2seq", "cells").ours(LAYER_OPS) == {"MatMul": 0.5, "Tanh": 0.08}
    assert move("memnet", "optimizer").ours(LAYER_OPS) == {"ApplyGradientDescent": 0.05}
    assert move("memnet", "hops over the memory").ours(LAYER_OPS) == {}
    assert move("memnet", "optimizer").ours(LAYER_OPS * 0.0) == {}


@pytest.mark.parametrize("workload", ["seq2seq", "memnet"])
def test_parts_name_layers_and_ops_that_there_are(workload: str) -> None:
    layers = [layer.name for layer in make_workload(workload, "tiny").layers]
    for part in (m for m in MOVES if m.workload == workload):
        assert set(part.paper_ops) <= set(FIGURE_3[workload])
        for name in part.layers:
            assert any(layer.startswith(name) or f".{name}" in layer for layer in layers), name


def test_every_large_op_of_the_two_workloads_is_in_a_part() -> None:
    """What the figure prints with 10 points or more, so that no large difference is left without a word."""
    for workload in ("seq2seq", "memnet"):
        told = {op for m in MOVES if m.workload == workload for op in m.paper_ops} | {"MatMul"}
        assert {op for op, percent in FIGURE_3[workload].items() if percent >= 10} <= told
