"""What the tools that read graphs make of ours: which they take, and how much of them they see.

``matrix`` asks every installed tool about every graph of a folder and writes a table of the share of the graph's
multiply-accumulates that the tool counted itself, into a section of ``docs/results/simulators.md`` if one is named. A
tool that reads ONNX is given the graph itself or, where the rules say so, its convolutions and products alone. ``ops``
asks the tools that read ONNX about every op, by onnx's own node tests, and prints the ops each took: the data of
``fathom_onnx/compat/ops.py``. ``make simulators`` installs the tools.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from documents import put, table

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.compat import CONSUMERS, Compatibility, Facts, judge
from fathom_onnx.convert import CONVERTERS
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph, load
from support.simulator_tools import TOOLS, Tool, ask

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "results" / "simulators.md"
ALONE = "compute-only"
"""The format with the convolutions and products of a graph alone."""
OPSET = 18
"""That of our graphs. An op that came later is asked at the version of ONNX that it came with."""

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli")


def hand_made() -> dict[str, onnx.ModelProto]:
    """Ops whose node tests do not show their plain form: what draws numbers, and what is asked for sequences only."""
    x, y = tensor("x"), tensor("y")

    def one(nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], **constants: object) -> onnx.ModelProto:
        held = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
        graph = onnx.helper.make_graph(nodes, "g", inputs, [y], held)
        made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
        return onnx.shape_inference.infer_shapes(made)

    made = {}
    for op in RANDOM:
        drawn = op in ("RandomNormal", "RandomUniform")
        attributes = {"shape": [2, 3]} if drawn else {}
        node = onnx.helper.make_node(op, [] if drawn else ["x"], ["r"], name="n", **attributes)
        made[op] = one([node, onnx.helper.make_node("Add", ["r", "x"], ["y"], name="a")], [x])
    made["CumSum"] = one([onnx.helper.make_node("CumSum", ["x", "axis"], ["y"], name="n")], [x], axis=np.int64(1))
    ranged = [onnx.helper.make_node("Range", ["start", "limit", "delta"], ["r"], name="n")]
    ranged.append(onnx.helper.make_node("Add", ["r", "x"], ["y"], name="a"))
    made["Range"] = one(ranged, [x], start=np.float32(0), limit=np.float32(3), delta=np.float32(1))
    ids = onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [2])
    hot = onnx.helper.make_node("OneHot", ["ids", "depth", "values"], ["y"], name="n")
    made["OneHot"] = one([hot], [ids], depth=np.int64(3), values=np.array([0, 1], np.float32))
    scalars = [("i", onnx.TensorProto.INT64), ("go", onnx.TensorProto.BOOL)]
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Add", ["state", "state"], ["next"], name="a"),
            onnx.helper.make_node("Identity", ["go"], ["go_on"], name="b"),
        ],
        "body",
        [*(onnx.helper.make_tensor_value_info(n, t, []) for n, t in scalars), tensor("state")],
        [onnx.helper.make_tensor_value_info("go_on", onnx.TensorProto.BOOL, []), tensor("next")],
    )
    loop = onnx.helper.make_node("Loop", ["trips", "yes", "x"], ["y"], name="n", body=body)
    made["Loop"] = one([loop], [x], trips=np.int64(4), yes=np.bool_(True))
    return made


def tensor(name: str) -> onnx.ValueInfoProto:
    """A float tensor of 2 x 3."""
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3])


def first_versions() -> dict[str, int]:
    """Op of the default domain to the version of ONNX that it came with."""
    versions: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            versions[schema.name] = min(schema.since_version, versions.get(schema.name, schema.since_version))
    return versions


def node_models() -> dict[str, list[onnx.ModelProto]]:
    """Op to models of that op alone, at our opset or the op's first.

    Small integer inputs are constants, as they are in graphs.
    """
    from onnx.backend.test.case.node import collect_testcases

    found: dict[str, list[onnx.ModelProto]] = defaultdict(list)
    versions = first_versions()
    for case in collect_testcases(None):
        if case.model is None or len(case.model.graph.node) != 1 or case.model.graph.node[0].domain:
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        model.ir_version = 10
        del model.opset_import[:]
        version = max(OPSET, versions.get(model.graph.node[0].op_type, OPSET))
        model.opset_import.append(onnx.helper.make_opsetid("", version))
        values = case.data_sets[0][0] if case.data_sets else ()
        for info, value in list(zip(model.graph.input, values, strict=False))[1:]:
            if isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.ndim < 2:
                model.graph.initializer.append(onnx.numpy_helper.from_array(value, info.name))
                model.graph.input.remove(info)
        try:
            onnx.checker.check_model(model)
            model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
            continue
        model.graph.node[0].name = "n"
        found[model.graph.node[0].op_type].append(model)
    return found


def ops(tools: list[Tool]) -> int:
    """Print the ops that each tool took in one node test or more."""
    models = node_models()
    for op, model in hand_made().items():
        models[op] = [model, *models.get(op, [])]
    with tempfile.TemporaryDirectory() as folder:
        asked: list[tuple[str, Path]] = []
        for op, made in sorted(models.items()):
            # enough to meet the plain form of an op, whatever its tests begin with
            step = max(1, len(made) // 4)
            for number, model in enumerate(made[::step][:5]):
                path = Path(folder) / f"{op}_{number}.onnx"
                onnx.save(model, path)
                asked.append((op, path))
        print(f"{len(models)} ops, {len(asked)} models", file=sys.stderr)
        for tool in tools:
            answers = ask(tool, [path for _, path in asked], timeout_s=20)
            taken = {op for (op, _), answer in zip(asked, answers, strict=True) if answer["accepted"]}
            refused = sorted(models.keys() - taken)
            print(json.dumps({"tool": tool.name, "taken": sorted(taken), "refused": refused}), flush=True)
    return 0


@dataclass(frozen=True)
class Question:
    """A graph and a tool.

    Attributes:
        verdict: What the rules say.
        path: The file that the tool is given.
        graph: The graph in it; of a format that is no ONNX, the one that was converted.
        alone: Whether it has the convolutions and products alone.
    """

    verdict: Compatibility
    path: Path
    graph: Graph
    alone: bool


def question(tool: Tool, path: Path, facts: Facts, folder: Path) -> Question | None:
    """What a tool is given of a graph; None where there is nothing to read."""
    verdict = judge(facts, next(c for c in CONSUMERS if c.name == tool.consumer))
    alone = tool.reads == "onnx" and verdict.commands == (f"convert --to {ALONE}",)
    if tool.reads == "onnx" and not alone:
        return Question(verdict, path, facts.graph, alone=False)
    converter = CONVERTERS[ALONE if alone else tool.reads]
    try:
        content = facts.conversion(converter.name).files[converter.suffix]
    except GraphError:
        return None
    assert isinstance(content, bytes)
    made = folder / f"{path.parent.name}-{path.stem}{converter.suffix}"
    made.write_bytes(content)
    return Question(verdict, made, load(made) if alone else facts.graph, alone)


def macs_by_name(graph: Graph) -> dict[str, int]:
    """Our count of each node, by its name."""
    nodes = zip(graph.model.graph.node, graph_costs(graph), strict=True)
    return {node.name: cost.macs or 0 for node, cost in nodes}


def cell(asked: Question, said: dict[str, Any], total: int) -> str:
    """What a tool made of a graph: the share of its multiply-accumulates that the tool counted, or why not."""
    verdict = asked.verdict
    if said["accepted"] != (asked.alone or verdict.status == "accepted" or bool(verdict.consumer.via)):
        print(
            f"the rules say {verdict.status}: {verdict.consumer.name}, {asked.path}: {said['error']}", file=sys.stderr
        )
    if not said["accepted"]:
        return "no: " + (verdict.reasons[0].text if verdict.reasons else said["error"][:60])
    counted = said["macs"]
    if counted is None:
        costs = macs_by_name(asked.graph)
        counted = sum(costs[name] for name in said["counted"])
    share = "100 %" if counted == total else f"{100 * counted / total:.2f} %"
    return f"{share} alone" if asked.alone else share


def matrix(tools: list[Tool], folder: Path, limit_s: float, section: str) -> int:
    """Print a table in Markdown, or put it into the document: graphs down, tools across."""
    paths = sorted(folder.rglob("*.onnx"), key=lambda p: (p.parent != folder, p.stem))
    facts = {path: Facts(graph, graph.model) for path in paths for graph in [load(path)]}
    totals = {path: sum(macs_by_name(of.graph).values()) for path, of in facts.items()}
    columns: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for tool in tools:
            made = {path: question(tool, path, of, Path(scratch)) for path, of in facts.items()}
            there = {path: asked for path, asked in made.items() if asked}
            said = ask(tool, [asked.path for asked in there.values()], timeout_s=limit_s)
            cells = {
                path: cell(asked, answer, totals[path])
                for (path, asked), answer in zip(there.items(), said, strict=True)
            }
            columns[tool.consumer] = [cells.get(path, "nothing to read") for path in paths]
            print(f"{tool.name}: {json.dumps(columns[tool.consumer])}", file=sys.stderr, flush=True)
    rows = [[str(path.relative_to(folder)), *row] for path, *row in zip(paths, *columns.values(), strict=True)]
    text = table(["graph", *(f"{name}:" for name in columns)], rows)
    if section:
        put(DOCUMENT, (f"<!-- matrix: {section} -->", f"<!-- end of matrix: {section} -->"), text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["matrix", "ops"])
    parser.add_argument("--tool", action="append", choices=list(TOOLS), help="only this one; may repeat")
    parser.add_argument("--graphs", type=Path, default=Path("graphs"))
    parser.add_argument("--section", default="", help="write the table between the marks of this name")
    parser.add_argument("--limit", type=float, default=300, help="seconds for a graph and a tool")
    given = parser.parse_args()
    chosen = [tool for name, tool in TOOLS.items() if not given.tool or name in given.tool]
    for absent in [tool for tool in chosen if tool.missing]:
        print(absent.missing, file=sys.stderr)
    there = [tool for tool in chosen if not tool.missing]
    if given.what == "ops":
        sys.exit(ops([tool for tool in there if tool.reads == "onnx"]))
    sys.exit(matrix(there, given.graphs, given.limit, given.section))
