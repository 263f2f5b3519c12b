"""SCALE-Sim topologies: what a row says, and that no multiply-accumulate of any committed graph is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fathom_onnx.convert import find_converter
from fathom_onnx.convert.converter import Conversion, LeftOut
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph, from_model, load
from support.graphs.converted import scalesim_macs
from support.graphs.small_models import FLOAT, cnn, control_flow, data_dependent, model, op
from support.paths import GRAPHS

INDEX = {row["path"]: row for row in json.loads((GRAPHS / "index.json").read_text())["graphs"]}


def converted(graph: Graph, layout: str = "auto") -> Conversion:
    converter = find_converter("scalesim")
    return converter.convert(graph, converter.request("out", {"layout": layout}))


def rows(conversion: Conversion) -> list[list[str]]:
    content = conversion.files[".csv"]
    assert isinstance(content, bytes)
    header, *lines = content.decode().splitlines()
    assert header.startswith(("Layer,M,N,K,", "Layer name,IFMAP Height,"))
    assert all(line.endswith(",") for line in lines)
    cells = [line[:-1].split(",") for line in lines]
    assert len({c[0] for c in cells}) == len(cells)
    assert not any("DP" in c[0] for c in cells)
    return cells


def image_model(batch: int = 1) -> Graph:
    """A strided convolution whose last column no window reaches, one dilated, one depthwise, one 1-D, a product."""
    nodes = [
        op("Conv", "x w1", "a", "stem,DP", kernel_shape=[3, 3], strides=[2, 2]),
        op("Conv", "a w2", "b", "dilated", dilations=[2, 2], pads=[2] * 4),
        op("Conv", "b w3", "c", "depthwise", group=4, pads=[1] * 4),
        op("Conv", "c w4", "d", "uneven", strides=[1, 2]),
        op("GlobalAveragePool", "d", "e"),
        op("Flatten", "e", "f"),
        op("MatMul", "f w5", "y"),
        op("Conv", "s w6", "z", "line", strides=[2]),
    ]
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), "w3": (4, 1, 3, 3), "w4": (4, 4, 1, 1), "w5": (4, 10)}
    shapes |= {"w6": (2, 3, 3), "x": (batch, 3, 10, 8), "s": (batch, 3, 9)}
    made = model(nodes, {n: (FLOAT, s) for n, s in shapes.items()}, {"y": (FLOAT, None), "z": (FLOAT, None)})
    return from_model(made, "image")


def test_convolution_rows() -> None:
    conversion = converted(image_model())
    assert [",".join(c) for c in rows(conversion)] == [
        "stem_Dp,9,7,3,3,3,4,2",  # 10 x 8, of which the last row and column are reached by no window
        "dilated,12,36,1,36,1,4,1",  # 4 x 3 positions, as a product
        "depthwise.1,12,9,1,9,1,1,1",
        "depthwise.2,12,9,1,9,1,1,1",
        "depthwise.3,12,9,1,9,1,1,1",
        "depthwise.4,12,9,1,9,1,1,1",
        "uneven,8,4,1,4,1,4,1",
        "MatMul_6,1,4,1,4,1,10,1",
        "line,1,9,1,3,3,2,2",
    ]
    assert conversion.kept.macs == conversion.total.macs == sum(scalesim_macs(c) for c in rows(conversion))
    assert [row.op for row in conversion.left_out] == ["GlobalAveragePool", "Flatten"]


def test_product_rows() -> None:
    for graph, layout in ((image_model(), "gemm"), (image_model(batch=3), "auto")):
        cells = rows(converted(graph, layout))
        batch = graph.inputs[-1].shape[0] if graph.inputs[-1].shape else 0
        assert cells[0] == ["stem_Dp", str(12 * batch), "4", "27"]
        assert cells[-1] == ["line", str(4 * batch), "2", "9"]
        assert sum(scalesim_macs(c) for c in cells) == converted(graph, layout).total.macs


def test_a_batch_of_convolutions_is_products_in_either_layout() -> None:
    cells = rows(converted(image_model(batch=2), "conv"))
    assert cells[0] == ["stem_Dp", "24", "27", "1", "27", "1", "4", "1"]


def test_gradients_are_products() -> None:
    nodes = [
        op("Conv", "x dy", "dw", "backward/conv/Conv2DBackFilter/Conv_1"),
        op("Conv", "dy w", "dx", "backward/conv/Conv2DBackInput/Conv_1", pads=[2] * 4),
    ]
    shapes = {"x": (3, 1, 6, 6), "dy": (1, 1, 4, 4), "w": (3, 1, 3, 3)}
    made = model(nodes, {n: (FLOAT, s) for n, s in shapes.items()}, {"dw": (FLOAT, None), "dx": (FLOAT, None)})
    conversion = converted(from_model(made, "gradients"))
    assert [",".join(c[1:]) for c in rows(conversion)] == ["27,1,16", "36,3,9"]


def test_what_is_left_out_is_said() -> None:
    conversion = converted(cnn())
    assert conversion.kept.nodes == 4
    assert conversion.total.nodes == 13
    assert LeftOut("Relu", 3, 0, 2 * (2 * 2 * 12 * 256 * 4) + 160, "no multiply-accumulates") in conversion.left_out
    assert sum(row.nodes for row in conversion.left_out) == 9


def test_the_unknown_is_not_zero() -> None:
    with pytest.raises(GraphError, match="no convolution or matrix product of known shape"):
        converted(control_flow())
    conversion = converted(data_dependent())
    assert [c[0] for c in rows(conversion)] == ["known"]
    assert conversion.total.macs is None
    assert conversion.kept.macs == 8
    (unknown, *_) = conversion.left_out
    assert (unknown.op, unknown.nodes, unknown.macs) == ("MatMul", 1, None)
    assert unknown.reason.startswith("its multiply-accumulates are not known: shape of ")


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(INDEX))
def test_every_mac_of_a_committed_graph_is_written(path: str) -> None:
    graph = load(GRAPHS / path)
    for layout in ("conv", "gemm"):
        conversion = converted(graph, layout)
        assert sum(scalesim_macs(c) for c in rows(conversion)) == INDEX[path]["macs"] == conversion.kept.macs


def test_scalesim_reads_it_so(tmp_path: Path) -> None:
    utilities = pytest.importorskip("scalesim.topology_utils", reason="pip install scalesim to read topologies back")
    for layout in ("conv", "gemm"):
        conversion = converted(image_model(), layout)
        path = tmp_path / f"{layout}.csv"
        path.write_bytes(conversion.files[".csv"])  # type: ignore[arg-type]
        topology = utilities.topologies()
        topology.load_arrays(str(path), mnk_inputs=layout == "gemm")
        topology.topo_calc_hyperparams()
        assert sum(row[2] for row in topology.layers_calculated_hyperparams) == conversion.total.macs
