"""The tools themselves on our graphs and on hand-made ones: they take what the rules say, and count what we count.

A tool that is not installed is skipped; ``make simulators`` installs all of them, ``make test`` the quick ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.compat import CONSUMERS, Consumer, Facts, judge
from fathom_onnx.convert import CONVERTERS
from fathom_onnx.graph import Graph, from_model, load
from fathom_onnx.workloads import USUAL_SUITE, names
from support.graphs.exports import MODES_OF
from support.graphs.parser_models import PARSED
from support.graphs.product_models import PRODUCT_GRAPHS
from support.graphs.small_models import FLOAT, INT64, control_flow, line_inference, model, op
from support.simulator_tools import TOOLS, Tool, ask

pytestmark = pytest.mark.simulators

CONSUMER = {c.name: c for c in CONSUMERS}
ONNX_TOOLS = [tool for tool in TOOLS.values() if tool.reads == "onnx"]
EXACT = ("zigzag", "openvino", "tvm")
"""Tools whose counts are ours exactly, in all that they take; see the drivers for what the others count."""

MODERN = names("2026")
MODERN_TRAINED = ("dlrm", "mamba", "ppo")
"""Those of the suite of 2026 whose training steps are asked about too; those of the others take a minute to make."""

OURS = {
    (name if mode == "inference" else f"{name}-train"): (name, mode)
    for name, mode in MODES_OF
    if mode == "inference" or name in MODERN_TRAINED or name in names(USUAL_SUITE)
}
"""Case to workload and mode, of both suites, at the tiny preset."""


def hand_made() -> dict[str, Graph]:
    """Graphs that tools differ on, each with what a rule is about."""
    image, filters = (1, 4, 9, 9), (6, 4, 3, 3)
    nodes: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "convolution": (
            [op("Conv", "x w", "y", "c", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
            {"x": (FLOAT, image), "w": (FLOAT, filters)},
            {"y": (FLOAT, (1, 6, 5, 5))},
            {},
        ),
        "no-kernel-shape": (
            [op("Conv", "x w", "y", "c")],
            {"x": (FLOAT, image), "w": (FLOAT, filters)},
            {"y": (FLOAT, (1, 6, 7, 7))},
            {},
        ),
        "one-axis": (
            [op("Conv", "x w", "y", "c", kernel_shape=[3])],
            {"x": (FLOAT, (1, 4, 9)), "w": (FLOAT, (6, 4, 3))},
            {"y": (FLOAT, (1, 6, 7))},
            {},
        ),
        "groups": (
            [op("Conv", "x w", "y", "c", kernel_shape=[3, 3], group=2)],
            {"x": (FLOAT, image), "w": (FLOAT, (6, 2, 3, 3))},
            {"y": (FLOAT, (1, 6, 7, 7))},
            {},
        ),
        "depthwise": (
            [op("Conv", "x w", "y", "c", kernel_shape=[3, 3], group=4)],
            {"x": (FLOAT, image), "w": (FLOAT, (4, 1, 3, 3))},
            {"y": (FLOAT, (1, 4, 7, 7))},
            {},
        ),
        "matrices": (
            [op("MatMul", "x w", "h", "m"), op("Gemm", "h v", "y", "g", transB=1)],
            {"x": (FLOAT, (5, 7)), "w": (FLOAT, (7, 3)), "v": (FLOAT, (4, 3))},
            {"y": (FLOAT, (5, 4))},
            {},
        ),
        "batched": (
            [op("MatMul", "x w", "y", "m")],
            {"x": (FLOAT, (3, 5, 7)), "w": (FLOAT, (3, 7, 2))},
            {"y": (FLOAT, (3, 5, 2))},
            {},
        ),
        "unequal-ranks": (
            [op("MatMul", "x w", "y", "m")],
            {"x": (FLOAT, (5, 7)), "w": (FLOAT, (3, 7, 2))},
            {"y": (FLOAT, (3, 5, 2))},
            {},
        ),
        "made-bias": (
            [
                op("Neg", "a", "x", "n1"),
                op("Neg", "b", "w", "n2"),
                op("Neg", "c", "d", "n3"),
                op("Gemm", "x w d", "y", "g"),
            ],
            {"a": (FLOAT, (5, 7)), "b": (FLOAT, (7, 2)), "c": (FLOAT, (2,))},
            {"y": (FLOAT, (5, 2))},
            {},
        ),
        "indices": (
            [op("MaxPool", "x", "y i", "p", kernel_shape=[2, 2])],
            {"x": (FLOAT, (1, 1, 4, 4))},
            {"y": (FLOAT, (1, 1, 3, 3)), "i": (INT64, (1, 1, 3, 3))},
            {},
        ),
        "drawn": (
            [op("RandomNormal", "", "r", "r", shape=[5, 7]), op("Add", "r x", "y", "a")],
            {"x": (FLOAT, (5, 7))},
            {"y": (FLOAT, (5, 7))},
            {},
        ),
        "looked-up": (
            [op("Gather", "t i", "x", "l"), op("Gemm", "x w", "y", "g")],
            {"t": (FLOAT, (9, 7)), "i": (INT64, (5,)), "w": (FLOAT, (7, 2))},
            {"y": (FLOAT, (5, 2))},
            {},
        ),
        "reduced": (
            [op("ReduceLogSumExp", "x axes", "y", "r")],
            {"x": (FLOAT, (5, 7))},
            {"y": (FLOAT, (5, 1))},
            {"axes": np.array([1])},
        ),
    }
    for reduction in ("none", "add", "mul", "max", "min"):
        nodes[f"scatter-{reduction}"] = (
            [op("ScatterElements", "x i u", "y", "s", axis=0, reduction=reduction)],
            {"x": (FLOAT, (5, 3)), "i": (INT64, (9, 3)), "u": (FLOAT, (9, 3))},
            {"y": (FLOAT, (5, 3))},
            {},
        )
    for fed in ("", "start", "limit", "delta"):
        values = {"start": np.float32(0), "limit": np.float32(3), "delta": np.float32(1)}
        nodes[f"range-{fed}"] = (
            [op("Range", "start limit delta", "r", "r"), op("Add", "r x", "y", "a")],
            {"x": (FLOAT, (3,)), **({fed: (FLOAT, ())} if fed else {})},
            {"y": (FLOAT, (3,))},
            {name: value for name, value in values.items() if name != fed},
        )
    for name, depth in (("scalar", 5), ("array", [5])):
        nodes[f"hot-{name}"] = (
            [op("OneHot", "i depth values", "y", "h")],
            {"i": (INT64, (3,))},
            {"y": (FLOAT, (3, 5))},
            {"depth": np.array(depth, np.int64), "values": np.array([0, 1], np.float32)},
        )
    for name, batch, last in (("none", 0, 2), ("one", 1, 1)):
        nodes[f"batch-axes-{name}"] = (
            [op("GatherND", "x i", "r", "g", batch_dims=batch), op("Reshape", "r to", "y", "r")],
            {"x": (FLOAT, (4, 7)), "i": (INT64, (4, 1, last))},
            {"y": (FLOAT, (4,))},
            {"to": np.array([4])},
        )
    for name, kind in (("equal", FLOAT), ("unequal", INT64)):
        nodes[f"power-{name}"] = (
            [op("Pow", "x p", "y", "p")],
            {"x": (FLOAT, (5,)), "p": (kind, (5,))},
            {"y": (FLOAT, (5,))},
            {},
        )
    for shape in ([1], [1, 1], [-1], []):
        nodes["scalar-to-" + "x".join(map(str, shape))] = (
            [op("ReduceSum", "x", "s", "sum", keepdims=0), op("Reshape", "s to", "y", "r")],
            {"x": (FLOAT, (3,))},
            {"y": (FLOAT, [abs(size) for size in shape])},
            {"to": np.array(shape, np.int64)},
        )
    for name, pads in (("even", [1, 1, 1, 1]), ("uneven", [1, 1, 0, 0])):
        node = op("ConvTranspose", "x w", "y", "t", kernel_shape=[3, 3], strides=[2, 2], pads=pads)
        size = 2 * 3 + 3 - pads[0] - pads[2]
        nodes[f"transposed-{name}"] = (
            [node],
            {"x": (FLOAT, (1, 4, 4, 4)), "w": (FLOAT, (4, 6, 3, 3))},
            {"y": (FLOAT, (1, 6, size, size))},
            {},
        )
    made = {name: from_model(model(*parts), name) for name, parts in nodes.items()}
    return {**made, "line": line_inference(), "loop": control_flow()}


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Graph]) -> dict[str, tuple[Path, Graph]]:
    """Name to file and graph: the hand-made ones, and workloads at the tiny preset."""
    folder = tmp_path_factory.mktemp("graphs")
    graphs = hand_made()
    graphs |= {case: tiny(name, "torch", mode) for case, (name, mode) in OURS.items()}
    graphs["autoenc-noise"] = tiny("autoenc", "torch", "inference", "input")
    found = {}
    graphs |= {f"parsed-{name}": graph for name, (graph, _, _) in PARSED.items()}
    for name, graph in graphs.items():
        path = folder / f"{name}.onnx"
        onnx.save(graph.model, path)
        found[name] = path, graph
    return found


@pytest.fixture(scope="session")
def answers(cases: dict[str, tuple[Path, Graph]]) -> Callable[[str], dict[str, dict[str, Any]]]:
    """What a tool says of every case; it is asked once, in one process."""

    @functools.cache
    def asked(name: str) -> dict[str, dict[str, Any]]:
        return dict(zip(cases, ask(TOOLS[name], [path for path, _ in cases.values()], timeout_s=60), strict=True))

    return asked


def installed(tool: Tool) -> Tool:
    if tool.missing:
        pytest.skip(tool.missing)
    return tool


@pytest.mark.parametrize("tool", ONNX_TOOLS, ids=lambda tool: tool.name)
def test_it_takes_what_the_rules_say(
    tool: Tool, cases: dict[str, tuple[Path, Graph]], answers: Callable[[str], dict[str, dict[str, Any]]]
) -> None:
    said = answers(installed(tool).name)
    consumer = CONSUMER[tool.consumer]
    wrong = {}
    for name, (_, graph) in cases.items():
        verdict = judge(Facts(graph, graph.model), consumer)
        if said[name]["accepted"] != (verdict.status == "accepted"):
            wrong[name] = verdict.status, said[name]["error"], verdict.reasons
    assert not wrong


@pytest.mark.parametrize("tool", ONNX_TOOLS, ids=lambda tool: tool.name)
def test_the_version_is_the_one_of_the_rules(tool: Tool, answers: Callable[[str], dict[str, dict[str, Any]]]) -> None:
    versions = {answer["version"] for answer in answers(installed(tool).name).values()}
    assert versions == {CONSUMER[tool.consumer].version}


def known(graph: Graph, consumer: Consumer) -> int:
    """Our count of the ops that a consumer counts."""
    nodes = zip(graph.model.graph.node, graph_costs(graph), strict=True)
    return sum(c.macs or 0 for node, c in nodes if consumer.counted is None or node.op_type in consumer.counted)


@pytest.mark.parametrize("name", EXACT)
def test_it_counts_what_we_count(
    name: str, cases: dict[str, tuple[Path, Graph]], answers: Callable[[str], dict[str, dict[str, Any]]]
) -> None:
    consumer = CONSUMER[installed(TOOLS[name]).consumer]
    counted = {}
    for case, answer in answers(name).items():
        # the body of a loop runs an unknown number of times; the drivers of the compilers do not count an Einsum
        uncounted = case == "loop" or ("einsum" in case and name != "zigzag")
        if answer["accepted"] and not uncounted:
            counted[case] = answer["macs"], known(cases[case][1], consumer)
    assert {case: pair for case, pair in counted.items() if pair[0] != pair[1]} == {}
    assert counted["convolution"][0] == 6 * 5 * 5 * 4 * 3 * 3
    assert counted["matrices"][0] == 5 * 7 * 3 + 5 * 3 * 4
    assert counted["residual"][0] > 0


def test_iree_counts_what_we_count_of_ours(
    cases: dict[str, tuple[Path, Graph]], answers: Callable[[str], dict[str, dict[str, Any]]]
) -> None:
    tool = installed(TOOLS["iree"])
    said = {case: answers(tool.name)[case] for case in ("convolution", "one-axis", "groups", "depthwise", *OURS)}
    counted = {case: answer["macs"] for case, answer in said.items() if answer["accepted"]}
    assert counted == {case: known(cases[case][1], CONSUMER[tool.consumer]) for case in counted}
    assert set(OURS) - set(counted) == {"gat"}


def test_zigzag_counts_products_of_every_form(answers: Callable[[str], dict[str, dict[str, Any]]]) -> None:
    said = answers(installed(TOOLS["zigzag"]).name)
    counted = {name: said[f"parsed-{name}"]["macs"] for name in PARSED}
    assert counted == {name: macs for name, (_, macs, _) in PARSED.items()}


def test_onnx_tool_counts_biases_too(answers: Callable[[str], dict[str, dict[str, Any]]]) -> None:
    said = answers(installed(TOOLS["onnx-tool"]).name)
    assert said["convolution"]["macs"] == 6 * 5 * 5 * 4 * 3 * 3
    assert said["line"]["macs"] == 3 * 2 + 2  # one row, a bias of two


def test_stream_sees_the_nodes_we_count(
    cases: dict[str, tuple[Path, Graph]], answers: Callable[[str], dict[str, dict[str, Any]]]
) -> None:
    said = answers(installed(TOOLS["stream"]).name)
    for name in ("convolution", "matrices", "deepq", "residual", "vgg"):
        graph = cases[name][1]
        wanted = {n.name for n in graph.model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")}
        assert set(said[name]["counted"]) == wanted


@pytest.mark.parametrize("name", ["accelforge", "scalesim"])
def test_it_reads_what_is_converted_for_it(name: str, cases: dict[str, tuple[Path, Graph]], tmp_path: Path) -> None:
    tool, converter = installed(TOOLS[name]), CONVERTERS[name]
    wanted, paths = [], []
    by_hand = ("convolution", "matrices", "batched", "transposed-even")
    for case in (*by_hand, "deepq", "deepq-train", "memnet-train", *(c for c in OURS if OURS[c][0] in MODERN)):
        conversion = converter.convert(cases[case][1], converter.request(case, {}))
        content = conversion.files[converter.suffix]
        assert isinstance(content, bytes)
        paths.append(tmp_path / f"{case}{converter.suffix}")
        paths[-1].write_bytes(content)
        wanted.append(sum(cost.macs or 0 for cost in graph_costs(cases[case][1])))
    said = ask(tool, paths)
    assert [answer["error"] for answer in said] == [""] * len(said)
    assert [answer["macs"] for answer in said] == wanted
    assert {answer["version"] for answer in said} == {CONSUMER[tool.consumer].version}


@pytest.mark.parametrize("name", ["accelforge", "scalesim"])
def test_it_counts_every_op_as_it_is_converted(name: str, tmp_path: Path) -> None:
    tool, converter = installed(TOOLS[name]), CONVERTERS[name]
    paths = []
    for case, (graph, _) in PRODUCT_GRAPHS.items():
        content = converter.convert(graph, converter.request(case, {})).files[converter.suffix]
        assert isinstance(content, bytes)
        paths.append(tmp_path / f"{case}{converter.suffix}")
        paths[-1].write_bytes(content)
    said = dict(zip(PRODUCT_GRAPHS, ask(tool, paths), strict=True))
    assert {case: said[case]["macs"] or said[case]["error"] for case in said} == {
        case: macs for case, (_, macs) in PRODUCT_GRAPHS.items()
    }


def test_zigzag_counts_every_op_as_compute_only(tmp_path: Path) -> None:
    tool, converter = installed(TOOLS["zigzag"]), CONVERTERS["compute-only"]
    paths, wanted = [], {}
    for case, (graph, _) in PRODUCT_GRAPHS.items():
        found = judge(Facts(graph, graph.model), CONSUMER["ZigZag"])
        alone = judge(Facts(graph, graph.model).contractions_alone, CONSUMER["ZigZag"])
        if alone.status != "accepted":
            assert found.status == "refused"
            continue
        content = converter.convert(graph, converter.request(case, {})).files[converter.suffix]
        assert isinstance(content, bytes)
        paths.append(tmp_path / f"{case}.onnx")
        paths[-1].write_bytes(content)
        wanted[case] = alone.macs_seen
    said = dict(zip(wanted, ask(tool, paths), strict=True))
    assert {case: answer["macs"] for case, answer in said.items()} == wanted


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("zigzag", ("mamba", "mamba-train")),  # with convolutions along one axis
        ("stream", ("memnet-train", *(case for case, (name, _) in OURS.items() if name in MODERN))),
    ],
)
def test_what_a_tool_does_not_take_it_takes_as_compute_only(
    name: str, chosen: Sequence[str], cases: dict[str, tuple[Path, Graph]], tmp_path: Path
) -> None:
    tool, converter = installed(TOOLS[name]), CONVERTERS["compute-only"]
    paths = []
    for case in chosen:
        graph = cases[case][1]
        assert judge(Facts(graph, graph.model), CONSUMER[tool.consumer]).commands == ("convert --to compute-only",)
        content = converter.convert(graph, converter.request(case, {})).files[converter.suffix]
        assert isinstance(content, bytes)
        paths.append(tmp_path / f"{case}.onnx")
        paths[-1].write_bytes(content)
    for case, path, said in zip(chosen, paths, ask(tool, paths), strict=True):
        assert said["error"] == ""
        if name == "zigzag":
            assert said["macs"] == sum(cost.macs or 0 for cost in graph_costs(cases[case][1]))
        else:
            assert set(said["counted"]) == {node.name for node in load(path).model.graph.node}


def test_scalesim_runs_a_converted_graph(cases: dict[str, tuple[Path, Graph]], tmp_path: Path) -> None:
    tool, converter = installed(TOOLS["scalesim"]), CONVERTERS["scalesim"]
    content = converter.convert(cases["matrices"][1], converter.request("m", {})).files[converter.suffix]
    assert isinstance(content, bytes)
    path = tmp_path / "matrices.csv"
    path.write_bytes(content)
    (said,) = ask(tool, [path], options=("--run",))
    assert said["error"] == ""
    first, second = said["cycles"]
    # the busy share of the 32 x 32 array is the multiply-accumulates over what it could have done
    for row, macs in ((first, 5 * 7 * 3), (second, 5 * 3 * 4)):
        assert row["Total Cycles"] * 1024 * row["Overall Util %"] / 100 == pytest.approx(macs, rel=0.01)
