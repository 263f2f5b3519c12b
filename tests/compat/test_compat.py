"""Who takes a graph: the rules on small graphs, the whole of ours, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from fathom_onnx.cli import main
from fathom_onnx.compat import CONSUMERS, Compatibility, Facts, judge, judge_all, ops
from fathom_onnx.convert import CONVERTERS
from fathom_onnx.graph import Graph, from_model, load
from fathom_onnx.graph.dataflow import RANDOM
from support.graphs.small_models import FLOAT, INT64, cnn, control_flow, line_inference, model, op
from support.paths import GRAPHS

BY_NAME = {c.name: c for c in CONSUMERS}


def verdict(graph: Graph, name: str, stored: onnx.ModelProto | None = None) -> Compatibility:
    return judge(Facts(graph, stored or graph.model), BY_NAME[name])


def one(node: Any, inputs: dict[str, tuple[int, ...]], output: tuple[int, ...], outputs: str = "y") -> Graph:
    made = model([node], {n: (FLOAT, s) for n, s in inputs.items()}, {outputs: (FLOAT, output)})
    return from_model(made, "one")


def said(found: Compatibility) -> list[str]:
    return [reason.text for reason in found.reasons]


def test_a_plain_network_is_taken_everywhere() -> None:
    graph = cnn()
    found = {v.consumer.name: v for v in judge_all(Facts(graph, graph.model))}
    # its convolutions leave their kernel_shape to their filters
    assert found["ZigZag"].commands == ("convert --to compute-only",)
    assert {name for name, v in found.items() if v.status == "accepted"} == {
        "Stream",
        "ONNXim",
        "OpenVINO",
        "TVM",
        "IREE",
        "onnx-tool",
        "onnxruntime CUDA",
        "onnx.reference",
    }
    assert found["SCALE-Sim"].commands == ("convert --to scalesim",)
    macs = 2 * 16 * 16 * 12 * (3 + 12) * 9 + 2 * 8 * 8 * 12 * 12 * 9 + 2 * 12 * 10
    assert all(v.macs == v.macs_seen == macs and v.share == 1 for v in found.values())


def test_zigzag_ignores_what_it_does_not_know() -> None:
    nodes = [
        op("Gemm", "x w", "h", "g"),
        op("Reshape", "h shape", "i", "r"),
        op("ConvTranspose", "i k", "y", "t", kernel_shape=[2, 2]),
    ]
    inputs = {"x": (FLOAT, (4, 3)), "w": (FLOAT, (3, 4)), "k": (FLOAT, (1, 2, 2, 2))}
    made = model(nodes, inputs, {"y": (FLOAT, (1, 2, 5, 5))}, {"shape": np.array([1, 1, 4, 4])})
    found = verdict(from_model(made, "mixed"), "ZigZag")
    assert found.status == "accepted"
    assert (found.macs_seen, found.macs) == (4 * 3 * 4, 48 + 16 * 2 * 4)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            one(op("Conv", "x w", "y", "c", kernel_shape=[3]), {"x": (1, 2, 5), "w": (2, 2, 3)}, (1, 2, 3)),
            "Conv of 1 spatial axes",
        ),
        (
            one(op("Conv", "x w", "y", "c"), {"x": (1, 2, 5, 5), "w": (2, 2, 3, 3)}, (1, 2, 3, 3)),
            "Conv without kernel_shape",
        ),
        (
            one(op("MatMul", "x w", "y", "m"), {"x": (2, 3), "w": (4, 3, 5)}, (4, 2, 5)),
            "MatMul of rank 2 with a result of rank 3",
        ),
        (
            one(op("MatMul", "x w", "y", "m"), {"x": (1, 1, 1, 2, 3), "w": (3, 5)}, (1, 1, 1, 2, 5)),
            "MatMul of rank 5",
        ),
    ],
)
def test_zigzag_refuses_what_a_conversion_mends(graph: Graph, reason: str) -> None:
    found = verdict(graph, "ZigZag")
    assert said(found) == [reason]
    assert (found.status, found.commands) == ("converted", ("convert --to compute-only",))
    assert found.macs_seen == found.macs


def test_zigzag_wants_biases_from_outside() -> None:
    nodes = [op("Neg", "a", "x", "n1"), op("Neg", "b", "w", "n2"), op("Neg", "c", "bias", "n3")]
    inputs = {"a": (FLOAT, (2, 3)), "b": (FLOAT, (3, 4)), "c": (FLOAT, (4,))}
    made = model([*nodes, op("Gemm", "x w bias", "y", "g")], inputs, {"y": (FLOAT, (2, 4))})
    assert said(verdict(from_model(made, "bias"), "ZigZag")) == ["Gemm with a bias that a node gives"]


def test_shapes_have_to_be_in_the_file() -> None:
    nodes = [op("Relu", "x", "h", "r"), op("Gemm", "h w", "y", "g")]
    inputs = {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}
    bare = model(nodes, inputs, {"y": (FLOAT, (2, 4))}, infer=False)
    found = verdict(from_model(bare, "bare"), "ZigZag", bare)
    assert said(found) == ["Gemm: a tensor has no value_info in the file"]
    assert found.commands == ("convert --to compute-only",)


def test_dynamic_dimensions() -> None:
    made = model([op("MatMul", "x w", "y", "m")], {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}, {"y": (FLOAT, None)})
    stored = onnx.ModelProto()
    stored.CopyFrom(made)
    stored.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    found = verdict(from_model(made, "dynamic"), "ZigZag", stored)
    assert said(found) == ["input 'x' has a dynamic dimension 'N'"]
    assert found.status == "refused"
    assert verdict(from_model(made, "dynamic"), "OpenVINO", stored).status == "accepted"


def test_integer_inputs_and_stream() -> None:
    nodes = [op("Gather", "table ids", "x", "look"), op("Gemm", "x w", "y", "g")]
    inputs = {"ids": (INT64, (2,)), "table": (FLOAT, (9, 3)), "w": (FLOAT, (3, 4))}
    found = verdict(from_model(model(nodes, inputs, {"y": (FLOAT, (2, 4))}), "ids"), "Stream")
    assert said(found) == ["an input of type int64"]
    assert found.commands == ("convert --to compute-only",)
    assert found.share == 1


def test_pool_indices_and_transposed_padding() -> None:
    pool = model(
        [op("MaxPool", "x", "y i", "p", kernel_shape=[2, 2])],
        {"x": (FLOAT, (1, 1, 4, 4))},
        {"y": (FLOAT, (1, 1, 3, 3)), "i": (INT64, (1, 1, 3, 3))},
    )
    assert said(verdict(from_model(pool, "pool"), "TVM")) == ["MaxPool with Indices"]
    assert said(verdict(from_model(pool, "pool"), "Stream")) == ["MaxPool gives int64"]
    assert verdict(from_model(pool, "pool"), "IREE").status == "accepted"
    shapes = {"x": (1, 1, 4, 4), "w": (1, 1, 3, 3)}
    node = op("ConvTranspose", "x w", "y", "t", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0])
    assert said(verdict(one(node, shapes, (1, 1, 8, 8)), "IREE")) == ["ConvTranspose with unequal pads"]


def test_loops() -> None:
    graph = control_flow()
    assert said(verdict(graph, "IREE")) == ["Loop with If in its body"]
    assert said(verdict(graph, "TVM")) == ["Loop is not supported"]
    assert verdict(graph, "OpenVINO").status == "accepted"


def test_parameters_as_inputs_and_onnxim() -> None:
    found = verdict(line_inference(), "ONNXim")
    assert (found.status, found.commands) == ("converted", ("convert --to initializers",))


def test_noise_can_be_an_input_of_ours_alone() -> None:
    ours = verdict(load(GRAPHS / "autoenc.onnx"), "TVM")
    assert said(ours) == ["RandomNormal is not supported"]
    assert (ours.status, ours.commands) == ("converted", ("export --noise input",))
    theirs = one(op("RandomNormal", "", "y", "r", shape=[2]), {"x": (2,)}, (2,))
    assert verdict(theirs, "TVM").status == "refused"


def test_every_random_op_of_ours_can_be_an_input() -> None:
    ours = load(GRAPHS / "autoenc.onnx")
    assert {c.fix(kind, ours) for c in CONSUMERS for kind in RANDOM} == {"export --noise input"}
    assert BY_NAME["TVM"].fix("Relu", ours) == ""


def test_ops_of_other_runtimes_are_not_tried() -> None:
    fused = op("FusedMatMul", "x w", "y", "m", domain="com.microsoft")
    made = model([fused], {"x": (FLOAT, (2, 3)), "w": (FLOAT, (3, 4))}, {"y": (FLOAT, (2, 4))}, infer=False)
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    graph = from_model(made, "fused")
    for name in ("OpenVINO", "TVM", "IREE", "onnx-tool", "onnxruntime CUDA"):
        assert (verdict(graph, name).status, verdict(graph, name).macs_seen) == ("unknown", None), name
    assert verdict(graph, "onnx.reference").status == "refused"
    kept = op("SimplifiedLayerNormalization", "x s", "y", "n")
    made = model([kept], {"x": (FLOAT, (2, 3)), "s": (FLOAT, (3,))}, {"y": (FLOAT, (2, 3))}, infer=False)
    found = verdict(from_model(made, "kept"), "onnx.reference")
    assert said(found) == ["SimplifiedLayerNormalization is no op of ONNX"]


def test_ops_of_other_domains_and_ops_never_tried() -> None:
    custom = op("Own", "x", "y", "o", domain="my.domain")
    made = model([custom], {"x": (FLOAT, (2,))}, {"y": (FLOAT, (2,))}, infer=False)
    made.opset_import.append(onnx.helper.make_opsetid("my.domain", 1))
    for name in ("OpenVINO", "TVM", "IREE", "onnx-tool", "onnx.reference", "Stream"):
        assert said(verdict(Graph(made, "own"), name)) == ["Own is an op of the domain my.domain"]
    # an op that every tool may or may not take
    sampled = op("Multinomial", "x", "y", "s", sample_size=2, dtype=onnx.TensorProto.INT64)
    untried = verdict(
        from_model(model([sampled], {"x": (FLOAT, (2, 3))}, {"y": (INT64, (2, 2))}), "sampled"), "OpenVINO"
    )
    assert (untried.status, untried.macs_seen) == ("unknown", None)
    assert said(untried) == ["Multinomial was never tried"]


def test_nothing_to_simulate() -> None:
    found = verdict(one(op("Relu", "x", "y", "r"), {"x": (2,)}, (2,)), "SCALE-Sim")
    assert (found.status, said(found), found.share) == ("refused", ["no convolution or matrix product"], None)


def test_the_tables_are_sound() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    extra = {"Gelu", "Silu"}
    for consumer in CONSUMERS:
        for table in (consumer.supported, consumer.unsupported, consumer.counted):
            assert (table or frozenset()) <= known | extra, consumer.name
        assert not (consumer.supported or frozenset()) & consumer.unsupported
        assert not consumer.via or consumer.via in CONVERTERS
        assert consumer.version or consumer.note.startswith("not run")
    used = {node.op_type for path in GRAPHS.rglob("*.onnx") for node in onnx.load(path).graph.node}
    assert used <= ops.NODE_TESTED


@pytest.mark.parametrize("name", ["scalesim", "accelforge", "timeloop", "maestro", "chakra"])
def test_what_is_seen_is_what_the_converter_keeps(name: str) -> None:
    graph = load(GRAPHS / "memnet-train.onnx")
    converter = CONVERTERS[name]
    kept = converter.convert(graph, converter.request("out", {})).kept.macs
    (consumer,) = (c for c in CONSUMERS if c.via == name)
    assert judge(Facts(graph, graph.model), consumer).macs_seen == kept


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("residual", {"ZigZag": 1, "Stream": 1, "OpenVINO": 1, "TVM": 1, "IREE": 1, "onnx-tool": 1}),
        ("residual-train", {"ZigZag": 1, "Stream": 1, "OpenVINO": 1, "TVM": 1, "IREE": 1, "onnx-tool": 1}),
        ("autoenc-train", {"ZigZag": 1, "OpenVINO": 1, "TVM": 1, "IREE": 1, "onnx-tool": 1}),
        ("alexnet", {"ZigZag": 1, "Stream": 1, "OpenVINO": 1}),
    ],
)
def test_shares_of_our_graphs(name: str, expected: dict[str, float]) -> None:
    graph = load(GRAPHS / f"{name}.onnx")
    for consumer, share in expected.items():
        found = verdict(graph, consumer).share
        assert found == pytest.approx(share, abs=1e-6), consumer


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_command(tmp_path: Path) -> None:
    nodes = [
        op("Gemm", "x w", "h", "g"),
        op("Reshape", "h shape", "i", "r"),
        op("ConvTranspose", "i k", "y", "t", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 0, 0]),
    ]
    inputs = {"x": (FLOAT, (4, 3)), "w": (FLOAT, (3, 4)), "k": (FLOAT, (1, 2, 2, 2))}
    made = model(nodes, inputs, {"y": (FLOAT, (1, 2, 7, 7))}, {"shape": np.array([1, 1, 4, 4])})
    onnx.save(made, tmp_path / "mixed.onnx")
    result = call("compat", tmp_path / "mixed.onnx")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[3:] if line.strip()}
    assert rows["ZigZag"].split()[1:] == [
        "3.9.1",
        "yes",
        "27.27",
        "%",
        "ConvTranspose",
        "is",
        "ignored:",
        "convert",
        "--to",
        "compute-only",
    ]
    assert "ConvTranspose with unequal pads" in rows["IREE"]
    assert rows["AccelForge"].rstrip().endswith("convert --to accelforge")


def test_the_command_with_json_and_a_folder(tmp_path: Path) -> None:
    onnx.save(cnn().model, tmp_path / "a.onnx")
    (tmp_path / "inner").mkdir()
    onnx.save(line_inference().model, tmp_path / "inner" / "b.onnx")
    result = call("compat", tmp_path, "--consumer", "zigzag", "--consumer", "ONNXim", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "fathom-onnx/compat/1"
    assert [Path(g["path"]).name for g in document["graphs"]] == ["a.onnx", "b.onnx"]
    zigzag, onnxim = document["graphs"][1]["consumers"]
    assert (zigzag["status"], zigzag["macs_seen"], zigzag["share"]) == ("accepted", 6, 1.0)
    assert (onnxim["status"], onnxim["version"]) == ("converted", None)
    assert onnxim["reasons"] == [
        {"text": "parameters are inputs of the graph", "nodes": 1, "fix": "convert --to initializers"}
    ]


def test_what_the_command_refuses(tmp_path: Path) -> None:
    assert call("compat", tmp_path).exit_code == 3
    assert call("compat", tmp_path / "none.onnx").exit_code == 3
    onnx.save(cnn().model, tmp_path / "a.onnx")
    unknown = call("compat", tmp_path, "--consumer", "zigzig")
    assert unknown.exit_code == 2
    assert "did you mean 'ZigZag'" in unknown.output
    assert call("compat", tmp_path, "--dim", "N=many").exit_code == 2
