"""Multiply-accumulates of the suite of 2026, layer by layer, against closed formulas and PyTorch's own FLOP counter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.graph import Address, Graph
from fathom_onnx.graph.definition import macs_by_definition
from fathom_onnx.workloads import names, workload
from fathom_onnx.workloads.contract import Mode
from support.closed_macs import MODERN, closed_macs
from support.flop_counter import counted_macs
from support.graphs.exports import FRAMEWORKS, MODES_OF

CASES = [(name, mode) for name, mode in MODES_OF if name in MODERN]


def test_every_workload_is_here() -> None:
    assert set(MODERN) == set(names("2026"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_layer_has_the_macs_of_its_formula(
    name: str, mode: Mode, framework: str, tiny: Callable[..., Graph]
) -> None:
    graph = tiny(name, framework, mode)
    counted: Counter[tuple[str, str]] = Counter()
    for node, cost in zip(graph.model.graph.node, graph_costs(graph), strict=True):
        stated = macs_by_definition(node)
        macs = cost.macs if stated is None else stated
        assert macs is not None, node.name
        if macs:
            address = Address.parse(node.name)
            assert address is not None
            counted[address.phase, address.layer] += macs
    assert counted == closed_macs(workload(name, "tiny"), mode)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), CASES)
def test_pytorchs_counter_finds_the_same(name: str, mode: Mode) -> None:
    """Of the untouched module; of a grouped convolution's filter gradient it counts every pair of channels."""
    found = counted_macs(workload(name, "tiny"), mode)
    assert found.macs - found.between_groups == closed_macs(workload(name, "tiny"), mode).total()
    assert bool(found.between_groups) == (name == "mamba" and mode == "training")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inference", "training"),
    [
        ("llama", 16_500, 49_400),
        ("mixtral", 35_700, 106_000),
        ("vit", 1_120, 3_360),
        ("unet", 796, 2_390),
        ("mamba", 305, 914),
    ],
)
def test_published_sizes(name: str, inference: int, training: int) -> None:
    """GMACs, to three digits, as they are documented; no weight is allocated."""
    found = {mode: closed_macs(workload(name), mode).total() for mode in ("inference", "training")}
    assert [float(f"{found[mode] / 1e9:.3g}") for mode in found] == [inference, training]
    assert counted_macs(workload(name), "inference").macs == found["inference"]
