"""Scatters of many columns in parts: the same bits, whatever is done with elements that meet, and which stay whole."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from fathom_exporters.lowering.fast import scatters
from fathom_exporters.lowering.fast.scatters import SplitWideScatters
from fathom_exporters.lowering.tags import Tag
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import from_model
from fathom_onnx.verification import verify
from fathom_onnx.workloads import workload

RNG = np.random.default_rng(0)


def model(shape: tuple[int, ...], rows: int, reduction: str, axis: int = 0) -> ir.Model:
    """Updates of a shape scattered into some rows, the index of a row expanded to its columns."""
    text = f"""<ir_version: 10, opset_import: ["": 18]>
    g (float[{rows},{",".join(map(str, shape[1:]))}] x, int64[{shape[0]},{",".join("1" for _ in shape[1:])}] i,
       float[{",".join(map(str, shape))}] u) => (float[{rows},{",".join(map(str, shape[1:]))}] y)
    {{
        s = Constant<value_ints = [{",".join(map(str, shape))}]>()
        e = Expand(i, s)
        y = ScatterElements<axis = {axis}, reduction = "{reduction}">(x, e, u)
    }}"""
    made = ir.from_onnx_text(text)
    made.graph.node(1).outputs[0].shape = ir.Shape(shape)
    for node in made.graph:
        Tag("forward", "layer", "Scatter", "s").put(node)
    return made


def ops(made: ir.Model) -> list[str]:
    SplitWideScatters()(made)
    RemoveUnusedNodesPass()(made)
    return [node.op_type for node in made.graph if node.op_type != "Constant"]


@pytest.mark.parametrize("reduction", ["add", "max", "none"])
@pytest.mark.parametrize("shape", [(40, 20), (40, 3, 8), (40, 300)])
def test_parts_give_the_same_bits(reduction: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """20 columns are 8, 8 and 4; 300 are 16 parts of 19 but for the last."""
    monkeypatch.setattr(scatters, "WIDEST", 700)
    index = RNG.integers(0, 7, (40, *[1] * (len(shape) - 1)))
    feeds = {
        "x": RNG.normal(size=(7, *shape[1:])).astype(np.float32),
        "i": index,
        "u": RNG.normal(size=shape).astype(np.float32),
    }
    if reduction == "none":  # what stays of elements that meet is not said
        feeds["i"] = np.arange(40).reshape(index.shape) % 7
        feeds["u"] = np.take(feeds["x"], feeds["i"].ravel(), 0) + 1
    whole, parts = model(shape, 7, reduction), model(shape, 7, reduction)
    found = ops(parts)
    columns = int(np.prod(shape[1:]))
    width = max(8, -(-columns // 16))
    assert found.count("ScatterElements") == -(-columns // width)
    assert "Concat" in found
    results = [
        onnxruntime.InferenceSession(ir.to_proto(m).SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, feeds
        )[0]
        for m in (whole, parts)
    ]
    np.testing.assert_array_equal(*results)


def test_which_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few elements, few columns, another axis."""
    assert ops(model((40, 20), 7, "add")) == ["Expand", "ScatterElements"]
    monkeypatch.setattr(scatters, "WIDEST", 10)
    assert ops(model((40, 8), 7, "add")) == ["Expand", "ScatterElements"]
    assert ops(model((40, 20), 40, "add", axis=1)) == ["Expand", "ScatterElements"]


def test_a_step_of_gat_with_parts_is_judged_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatters, "WIDEST", 10)
    monkeypatch.setattr(scatters, "COLUMNS", 3)
    made = workload("gat", "tiny")
    graph = from_model(find_exporter("torch").export(ExportRequest(made, "training", "input", "onnxruntime")), "gat")
    assert sum("gathering/Scatter/ScatterElements_3" in node.name for node in graph.model.graph.node)
    assert verify(made, "torch", "training", steps=2, graph=graph).passed
