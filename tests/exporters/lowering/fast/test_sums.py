"""Sums of products as one product: the same numbers, and where they stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.fast.sums import JoinSummedProducts
from support.graphs.lowering import FLOAT, close, run, standard_model, value

STEPS = 4
RNG = np.random.default_rng(0)
VALUES = {f"{name}{t}": RNG.normal(size=(3 + t, size)) for t in range(STEPS) for name, size in (("a", 24), ("b", 32))}
VALUES["other"] = RNG.normal(size=(24, 32))
EXACT = sum(VALUES[f"a{t}"].T @ VALUES[f"b{t}"] for t in range(STEPS))


def model(
    sums: str = "Add", other: bool = False, scopes: tuple[str, ...] = ("layer",), values=VALUES, **attributes: Any
) -> ir.Model:
    """Products of each step, added one after the other or by one Sum."""
    inputs = {name: value(name, array) for name, array in values.items()}
    products, nodes = [], []
    for t in range(STEPS):
        node = ir.node("Gemm", [inputs[f"a{t}"], inputs[f"b{t}"]], {"transA": 1} | attributes)
        Tag("backward", scopes[t % len(scopes)], "MatMul", f"product{t}").put(node)
        nodes.append(node)
        products.append(node.outputs[0])
    if other:
        products.insert(2, inputs["other"])
    if sums == "Sum":
        nodes.append(ir.node("Sum", products))
    else:
        total = products[0]
        for product in products[1:]:
            nodes.append(ir.node("Add", [product, total]))
            total = nodes[-1].outputs[0]
    for node in nodes:
        if node.op_type != "Gemm":
            Tag("backward", "layer", "Add", "sum").put(node)
        node.outputs[0].shape, node.outputs[0].type = ir.Shape([24, 32]), FLOAT
    nodes[-1].outputs[0].name = "dw"
    return standard_model(nodes, list(inputs.values()), [nodes[-1].outputs[0]])


def joined(found: ir.Model) -> list[str]:
    for step in (JoinSummedProducts(), RemoveUnusedNodesPass(), TopologicalSortPass()):
        step(found)
    return [node.op_type for node in found.graph]


@pytest.mark.parametrize("sums", ["Add", "Sum"])
def test_products_of_steps_are_one(sums: str) -> None:
    found = model(sums)
    assert joined(found) == ["Concat", "Concat", "Gemm"]
    assert found.graph.outputs[0].name == "dw"
    assert {node.metadata_props["fathom.op"] for node in found.graph} == {"MatMul"}
    close(run(found, VALUES)[0], EXACT, 1e-6)


@pytest.mark.parametrize("sums", ["Add", "Sum"])
def test_what_is_no_product_is_still_added(sums: str) -> None:
    found = model(sums, other=True)
    assert joined(found) == ["Concat", "Concat", "Gemm", "Add"]
    close(run(found, VALUES)[0], EXACT + VALUES["other"], 1e-6)


def test_products_of_each_layer_are_joined_among_themselves() -> None:
    found = model(scopes=("one", "two"))
    assert sorted(joined(found)) == ["Add", *["Concat"] * 4, *["Gemm"] * 2]
    close(run(found, VALUES)[0], EXACT, 1e-6)


@pytest.mark.parametrize("other", [{"alpha": 0.5}, {"transA": 0}, {"transB": 1}])
def test_other_products_stay(other: dict[str, Any]) -> None:
    assert not JoinSummedProducts()(model(**other)).modified


def test_a_product_or_a_part_of_the_sum_that_is_read_elsewhere_stays() -> None:
    for index in (1, STEPS):  # a product; the first of the additions
        found = model()
        kept = list(found.graph)[index].outputs[0]
        kept.name = "kept"
        found.graph.outputs.append(kept)
        assert joined(found).count("Gemm") == 2
        got = run(found, VALUES)
        close(got[0], EXACT, 1e-6)
        parts = [VALUES[f"a{t}"].T @ VALUES[f"b{t}"] for t in range(STEPS)]
        close(got[1], parts[1] if index == 1 else parts[0] + parts[1], 1e-6)


def test_parts_larger_than_the_sum_stay() -> None:
    large = {f"{name}{t}": np.zeros((40, size)) for t in range(STEPS) for name, size in (("a", 24), ("b", 32))}
    assert not JoinSummedProducts()(model(values=VALUES | large)).modified
