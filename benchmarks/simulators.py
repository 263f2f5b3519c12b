"""What the tools that read graphs make of ours: which they take, and how much of them they see.

``matrix`` asks every installed tool about every graph of a folder and writes a table of the share of the graph's
multiply-accumulates that the tool counted itself. ``ops`` asks the tools that read ONNX about every op, by onnx's own
node tests, and prints the ops each took: the data of ``fathom_onnx/compat/ops.py``. ``make simulators`` installs the
tools.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "simulators"))

from tools import TOOLS, Tool, ask

OPSET = 18
"""That of our graphs; node tests that need a later one are not asked."""

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli")


def random_models() -> dict[str, onnx.ModelProto]:
    """Ops that draw numbers have no node tests, their outputs not being known."""
    made = {}
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, 3]) for n in "xy")
    for op in RANDOM:
        drawn = op in ("RandomNormal", "RandomUniform")
        attributes = {"shape": [2, 3]} if drawn else {}
        nodes = [onnx.helper.make_node(op, [] if drawn else ["x"], ["r"], name="n", **attributes)]
        nodes.append(onnx.helper.make_node("Add", ["r", "x"], ["y"], name="a"))
        made[op] = onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "g", [x], [y]),
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=10,
        )
    return made


def node_models() -> dict[str, list[onnx.ModelProto]]:
    """Op to models of that op alone, at our opset; small integer inputs are constants, as they are in graphs."""
    import numpy as np
    from onnx.backend.test.case.node import collect_testcases

    found: dict[str, list[onnx.ModelProto]] = defaultdict(list)
    for case in collect_testcases(None):
        if case.model is None or len(case.model.graph.node) != 1 or case.model.graph.node[0].domain:
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        model.ir_version = 10
        del model.opset_import[:]
        model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
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
    models = {**node_models(), **{op: [model] for op, model in random_models().items()}}
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


if __name__ == "__main__":
    sys.exit(ops([TOOLS[n] for n in sys.argv[1:]]))
