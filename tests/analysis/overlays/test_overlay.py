"""Overlays: a run's times on its graph, exactly, for each viewer."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from fathom_onnx.analysis.overlays.model_explorer import node_data, node_ids
from fathom_onnx.analysis.overlays.netron import brief
from fathom_onnx.analysis.overlays.overlay import NodeTime, node_times, read_graph, write_copy
from fathom_onnx.analysis.runs.run import Run
from fathom_onnx.cli import main
from fathom_onnx.errors import DataError, GraphError, UsageError
from fathom_onnx.graph.bodies import numbered
from support.graphs.small_models import FLOAT, control_flow, model, op
from support.runs.small_runs import Executed, hand_run

CONV, RELU, SCALE, FC = "forward/conv/Conv2D", "forward/relu/Relu", "forward/scale/Mul", "forward/fc/MatMul"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def graph_file(path: Path) -> Path:
    """Four nodes: a convolution and a ReLU that run fused, a constant product that is folded, a matrix product."""
    nodes = [
        op("Conv", "x w", "c", CONV),
        op("Relu", "c", "r", RELU),
        op("Mul", "s s", "ss", SCALE),
        op("MatMul", "r ss", "y", FC),
    ]
    constants = {"w": np.ones((1, 1, 1, 1), np.float32), "s": np.ones((4, 4), np.float32)}
    graph_model = model(nodes, {"x": (FLOAT, (1, 1, 4, 4))}, {"y": (FLOAT, (1, 1, 4, 4))}, constants)
    graph_model.ir_version = 9
    path.write_bytes(graph_model.SerializeToString(deterministic=True))
    return path


def run_of(graph: Path, **facts: Any) -> Run:
    """Node time 1 ms: conv 600 us, relu 200 us, fc 150 us, 40 us charged, 10 us unattributed."""
    return hand_run(
        [
            Executed("c", [800, 800], {CONV: 0.75, RELU: 0.25}),
            Executed("m", [40, 40], {FC: 1.0}, "charged"),
            Executed("f", [150, 150], {FC: 1.0}),
            Executed("x", [10, 10], kind="unattributed"),
        ],
        outside=[5, 5],
        order=[CONV, RELU, SCALE, FC],
        states={SCALE: "folded"},
        graph_sha256=hashlib.sha256(graph.read_bytes()).hexdigest(),
        **facts,
    )


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """(run folder, graph file)."""
    graph = graph_file(tmp_path / "small.onnx")
    run_of(graph).save(tmp_path / "run")
    return tmp_path / "run", graph


def test_the_times_of_nodes(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "small.onnx")
    run = run_of(graph)
    times = node_times(run, read_graph(graph, run))
    assert [(t.entry.node.name, t.us, t.share, t.rank, t.state) for t in times] == [
        (CONV, 600, 0.6, 1, "ran"),
        (RELU, 200, 0.2, 2, "ran"),
        (SCALE, None, None, None, "folded"),
        (FC, 150, 0.15, 3, "ran"),
    ]


@pytest.mark.parametrize(
    ("us", "share", "text"),
    [
        (4120, 0.123, "12% 4.1ms"),
        (4120, 0.0934, "9.3% 4.1ms"),
        (3, 0.0001, "0% 3.0us"),
        (0, 0, "0% 0.0us"),
        (412.3, 0.0996, "10% 412us"),
        (999.6, 1, "100% 1.0ms"),
        (999_499, 1, "100% 999ms"),
        (999_500, 1, "100% 1.0s"),
        (12_300_000, 0.5, "50% 12s"),
    ],
)
def test_share_and_time_fit_in_what_netron_shows(us: float, share: float, text: str) -> None:
    assert brief(us, share) == text
    assert len(text) <= 10


def test_a_copy_with_the_times_in_the_names(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    result = call("overlay", run, graph, "--to", "netron", "-o", tmp_path / "out" / "seen.onnx")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{tmp_path}/out/seen.onnx  3 of 4 nodes ran, 1 folded, 95.0% of the node time shown, 4.0% charged,"
        " 1.0% unattributed\n"
    )
    seen, original = onnx.load(tmp_path / "out" / "seen.onnx"), onnx.load(graph)
    names = [f"60% 600us {CONV}", f"20% 200us {RELU}", f"folded {SCALE}", f"15% 150us {FC}"]
    assert [node.name for node in seen.graph.node] == names
    # nothing else is changed
    for node, name in zip(seen.graph.node, (CONV, RELU, SCALE, FC), strict=True):
        node.name = name
    assert seen == original
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["seen.onnx"]


def test_a_copy_with_the_times_in_the_metadata(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    result = call("overlay", run, graph, "--to", "netron", "--in", "metadata", "-o", tmp_path / "seen.onnx")
    assert result.exit_code == 0, result.output
    seen, original = onnx.load(tmp_path / "seen.onnx"), onnx.load(graph)
    onnx.checker.check_model(seen)
    assert [{p.key: p.value for p in node.metadata_props} for node in seen.graph.node] == [
        {
            "fathom_onnx.state": "ran",
            "fathom_onnx.time_us": "600.0",
            "fathom_onnx.time_share": "60.00%",
            "fathom_onnx.time_rank": "1",
        },
        {
            "fathom_onnx.state": "ran",
            "fathom_onnx.time_us": "200.0",
            "fathom_onnx.time_share": "20.00%",
            "fathom_onnx.time_rank": "2",
        },
        {"fathom_onnx.state": "folded"},
        {
            "fathom_onnx.state": "ran",
            "fathom_onnx.time_us": "150.0",
            "fathom_onnx.time_share": "15.00%",
            "fathom_onnx.time_rank": "3",
        },
    ]
    # nodes have metadata from IR version 10 on
    assert (original.ir_version, seen.ir_version) == (9, 10)
    seen.ir_version = 9
    for node in seen.graph.node:
        del node.metadata_props[:]
    assert seen == original


def test_netrons_attachment(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    result = call("overlay", run, graph, "--to", "netron", "--in", "attachment", "-o", tmp_path / "seen.json")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "seen.json").read_text())
    assert content.keys() == {"signature", "metrics"}
    assert content["signature"] == "netron:attachment"
    assert all(entry.keys() == {"kind", "target", "name", "value"} for entry in content["metrics"])
    assert {(e["kind"], e["target"], e["name"], e["value"]) for e in content["metrics"]} == {
        *(("node", CONV, *fact) for fact in (("state", "ran"), ("time_us", 600.0), ("time_rank", 1))),
        ("node", CONV, "time_share", "60.00%"),
        *(("node", RELU, *fact) for fact in (("state", "ran"), ("time_us", 200.0), ("time_rank", 2))),
        ("node", RELU, "time_share", "20.00%"),
        ("node", SCALE, "state", "folded"),
        *(("node", FC, *fact) for fact in (("state", "ran"), ("time_us", 150.0), ("time_rank", 3))),
        ("node", FC, "time_share", "15.00%"),
    }


def check_node_data(content: Any) -> None:
    """What Model Explorer's ``node_data_builder`` documents of ``GraphNodeData``, indexed by graph."""
    assert isinstance(content, dict)
    known = {"results", "name", "thresholds", "gradient"}
    for graph, data in content.items():
        assert isinstance(graph, str)
        assert "results" in data
        assert set(data) <= known
        assert isinstance(data.get("name", ""), str)
        for node, result in data["results"].items():
            assert isinstance(node, str)
            assert set(result) <= {"value", "bgColor", "textColor"}
            assert isinstance(result["value"], int | float)
        stops = [item["stop"] for item in data["gradient"]]
        assert stops == sorted(stops)
        assert (stops[0], stops[-1]) == (0, 1)
        for item in data["gradient"]:
            assert set(item) <= {"stop", "bgColor", "textColor"}
            assert all(len(item[key]) == 7 and item[key][0] == "#" for key in ("bgColor", "textColor"))


def test_model_explorers_node_data(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    result = call("overlay", run, graph, "--to", "model-explorer", "-o", tmp_path / "seen.json", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "seen.json").read_text())
    check_node_data(content)
    assert content == {
        "test": {
            "name": "time (us)",
            "results": {CONV: {"value": 600.0}, RELU: {"value": 200.0}, FC: {"value": 150.0}},
            "gradient": [
                {"stop": 0.0, "bgColor": "#ffffff", "textColor": "#000000"},
                {"stop": 0.1, "bgColor": "#ffeda0", "textColor": "#000000"},
                {"stop": 0.4, "bgColor": "#feb24c", "textColor": "#000000"},
                {"stop": 1.0, "bgColor": "#bd0026", "textColor": "#ffffff"},
            ],
        }
    }
    report = json.loads(result.stdout)
    assert report == {
        "schema": "fathom-onnx/overlay/1",
        "run": str(run),
        "to": "model-explorer",
        "in": None,
        "file": str(tmp_path / "seen.json"),
        "size_bytes": (tmp_path / "seen.json").stat().st_size,
        "shown": {
            "nodes": 4,
            "ran": 3,
            "folded": 1,
            "merged": 0,
            "hidden": 0,
            "shown_share": 0.95,
            "charged_share": 0.04,
            "unattributed_share": 0.01,
            "unknown": 0,
        },
    }


def timed(graph_model: onnx.ModelProto) -> tuple[NodeTime, ...]:
    return tuple(NodeTime(entry, 1.0, 0.1, 1, "ran") for entry in numbered(graph_model.graph))


def test_ids_in_model_explorer_of_bodies() -> None:
    graph_model = control_flow().model
    times = timed(graph_model)
    body = "/loop/Loop/body"
    ids = {t.entry.node.name: place for t, place in zip(times, node_ids(graph_model, times), strict=True)}
    assert ids == {
        "/loop/Loop": ("test", "/loop/Loop"),
        "/loop/MatMul": (body, "/loop/MatMul"),
        "/loop/ReduceSum": (body, "/loop/ReduceSum"),
        "/loop/Greater": (body, "/loop/Greater"),
        "/loop/If": (body, "/loop/If"),
        "/loop/if/Tanh": (body, "/loop/If/then_branch//loop/if/Tanh"),
        "/loop/if/Relu": (body, "/loop/If/else_branch//loop/if/Relu"),
        "/loop/Identity": (body, "/loop/Identity"),
        "/out/Add": ("test", "/out/Add"),
    }
    data, hidden = node_data(graph_model, times)
    check_node_data(data)
    assert list(data) == ["test", body]
    assert hidden == ()


def test_ids_in_model_explorer_of_nodes_without_a_name_of_their_own() -> None:
    names = ["", "a", "", "a", "node"]
    nodes = [op("Relu", f"t{i}", f"t{i + 1}", name) for i, name in enumerate(names)]
    graph_model = model(nodes, {"t0": (FLOAT, (2,))}, {"t5": (FLOAT, (2,))})
    ids = node_ids(graph_model, timed(graph_model))
    assert [place.node if place else None for place in ids] == ["node", "a", "node_1", "a_1", "node_2"]


def test_a_loop_in_a_loop_is_hidden_and_reported() -> None:
    graph_model = control_flow().model
    loop = graph_model.graph.node[0]
    body = loop.attribute[0].g
    inner = onnx.NodeProto()
    inner.CopyFrom(loop)
    inner.name = "/loop/inner"
    del inner.attribute[0].g.node[1:]
    body.node.append(inner)
    times = timed(graph_model)
    ids = node_ids(graph_model, times)
    assert ids[-3:] == (("/loop/Loop/body", "/loop/inner"), None, ("test", "/out/Add"))
    _, hidden = node_data(graph_model, times)
    assert [time.entry.node.name for time in hidden] == ["/loop/MatMul"]


def test_weights_in_other_files_are_referred_to_as_before(tmp_path: Path) -> None:
    graph = tmp_path / "weights" / "g.onnx"
    graph.parent.mkdir()
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    graph_model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"], FC)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
            [weight],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(graph_model, graph, save_as_external_data=True, location="g.bin", size_threshold=0)
    hash_of = hashlib.sha256(graph.read_bytes()).hexdigest()
    hand_run([Executed("f", [10], {FC: 1.0})], outside=[1], graph_sha256=hash_of).save(tmp_path / "run")
    result = call("overlay", tmp_path / "run", graph, "--to", "netron", "-o", tmp_path / "weights" / "seen.onnx")
    assert result.exit_code == 0, result.output
    seen = onnx.load(tmp_path / "weights" / "seen.onnx", load_external_data=False)
    assert {e.key: e.value for e in seen.graph.initializer[0].external_data}["location"] == "g.bin"
    loaded = onnx.load(tmp_path / "weights" / "seen.onnx")
    assert numpy_helper.to_array(loaded.graph.initializer[0]).sum() == 16
    assert loaded.graph.node[0].name == f"100% 10us {FC}"
    result = call("overlay", tmp_path / "run", graph, "--to", "netron", "-o", tmp_path / "seen.onnx")
    assert result.exit_code == 2
    assert "write the overlay into" in result.stderr
    assert not (tmp_path / "seen.onnx").exists()


def test_a_graph_that_the_checker_refuses_is_not_copied(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "small.onnx")
    broken = onnx.load(graph)
    broken.graph.node[3].op_type = "NoSuchOp"
    graph.write_bytes(broken.SerializeToString())
    run_of(graph).save(tmp_path / "run")
    result = call("overlay", tmp_path / "run", graph, "--to", "netron", "-o", tmp_path / "seen.onnx")
    assert result.exit_code == 3
    assert "is not a valid ONNX graph" in result.stderr
    assert not (tmp_path / "seen.onnx").exists()


def test_perfetto(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = saved
    text = b'{"traceEvents": []}'
    (run / "timeline.json.gz").write_bytes(gzip.compress(text))
    assert call("overlay", run, "--to", "perfetto", "-o", tmp_path / "t.json").exit_code == 0
    assert (tmp_path / "t.json").read_bytes() == text
    assert call("overlay", run, "--to", "perfetto", "-o", tmp_path / "t.json.gz").exit_code == 0
    assert (tmp_path / "t.json.gz").read_bytes() == (run / "timeline.json.gz").read_bytes()
    (run / "timeline.json.gz").write_bytes(gzip.compress(text)[:-9])
    for name in ("u.json", "u.json.gz"):
        result = call("overlay", run, "--to", "perfetto", "-o", tmp_path / name)
        assert (result.exit_code, "is broken" in result.stderr) == (6, True)
        assert not (tmp_path / name).exists()
    (run / "timeline.json.gz").unlink()
    result = call("overlay", run, "--to", "perfetto", "-o", tmp_path / "t.json")
    assert (result.exit_code, "has no timeline.json.gz" in result.stderr) == (6, True)
    assert (tmp_path / "t.json").read_bytes() == text


def test_another_graph_than_the_runs(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    other = onnx.load(graph)
    other.producer_name = "another"
    (tmp_path / "other.onnx").write_bytes(other.SerializeToString())
    result = call("overlay", run, tmp_path / "other.onnx", "--to", "netron", "-o", tmp_path / "seen.onnx")
    assert result.exit_code == 2
    assert "other.onnx' is not the graph of the run (SHA-256 " in result.stderr
    assert "give the file of 'small' that was profiled" in result.stderr
    result = call("overlay", run, tmp_path / "missing.onnx", "--to", "netron", "-o", tmp_path / "seen.onnx")
    assert (result.exit_code, "missing.onnx' (No such file" in result.stderr) == (3, True)
    assert not (tmp_path / "seen.onnx").exists()


def test_what_does_not_go_together(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    before = graph.read_bytes()
    for arguments, message in (
        ([run, "--to", "netron", "-o", tmp_path / "x"], "an overlay for netron needs the graph"),
        ([run, graph, "--to", "model-explorer", "--in", "names", "-o", tmp_path / "x"], "--in is for Netron"),
        ([run, graph, "--to", "model-explorer", "-o", tmp_path / "x"], "give one that ends in .json"),
        ([run, graph, "--to", "netron", "--in", "attachment", "-o", tmp_path / "x"], "give one that ends in .json"),
        ([run, graph, "--to", "netron", "-o", graph], "would replace the graph"),
        ([run, graph, "--to", "tensorboard", "-o", tmp_path / "x"], "'tensorboard' is not one of"),
    ):
        result = call("overlay", *arguments)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert graph.read_bytes() == before
    assert not (tmp_path / "x").exists()


def test_a_run_folder_that_is_old_or_none(saved: tuple[Path, Path], tmp_path: Path) -> None:
    run, graph = saved
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "schema": "fathom-onnx/run/1"}))
    result = call("overlay", run, graph, "--to", "netron", "-o", tmp_path / "x.onnx")
    assert (result.exit_code, "has schema 'fathom-onnx/run/1'" in result.stderr) == (6, True)
    result = call("overlay", tmp_path, graph, "--to", "netron", "-o", tmp_path / "x.onnx")
    assert (result.exit_code, "is not a run folder" in result.stderr) == (6, True)


def test_a_table_of_other_nodes_and_a_file_that_is_no_graph(tmp_path: Path) -> None:
    graph = graph_file(tmp_path / "small.onnx")
    run = run_of(graph)
    renamed = onnx.load(graph)
    renamed.graph.node[0].name = "other"
    with pytest.raises(DataError, match="original nodes are not those of its graph"):
        node_times(run, renamed)
    text = tmp_path / "text.onnx"
    text.write_text("no graph")
    with pytest.raises(GraphError, match="is not an ONNX file"):
        read_graph(text, run_of(text))
    with pytest.raises(UsageError, match="is not the graph of the run"):
        read_graph(text, run)


def test_a_graph_in_another_order_has_its_copy(tmp_path: Path) -> None:
    """onnxruntime sorts the nodes of a file, and the copy keeps their order."""
    graph = graph_file(tmp_path / "g.onnx")
    turned = onnx.load(graph)
    nodes = list(turned.graph.node)[::-1]
    del turned.graph.node[:]
    turned.graph.node.extend(nodes)
    write_copy(turned, graph, tmp_path / "copy.onnx")
    assert [node.name for node in onnx.load(tmp_path / "copy.onnx").graph.node] == [FC, SCALE, RELU, CONV]
