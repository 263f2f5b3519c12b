"""Chakra execution traces: the bytes of a small one, the types that readers insist on, the order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from google.protobuf import proto

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.cli import main
from fathom_onnx.convert import find_converter
from fathom_onnx.convert.converter import Conversion
from fathom_onnx.convert.simulators.chakra import message_classes
from fathom_onnx.graph import Graph, from_model, load
from support.graphs.small_models import FLOAT, control_flow, data_dependent, model, op
from support.paths import GRAPHS


def converted(graph: Graph) -> Conversion:
    converter = find_converter("chakra")
    return converter.convert(graph, converter.request("out", {}))


def trace(graph: Graph, classes: dict[str, Any] | None = None) -> tuple[Any, list[Any]]:
    content = converted(graph).files[".0.et"]
    assert isinstance(content, bytes)
    classes = classes or message_classes()
    stream = io.BytesIO(content)
    head = proto.parse_length_prefixed(classes["GlobalMetadata"], stream)
    nodes = []
    while stream.tell() < len(content):
        nodes.append(proto.parse_length_prefixed(classes["Node"], stream))
    return head, nodes


def attributes(message: Any) -> dict[str, tuple[str, Any]]:
    found = {}
    for attribute in message.attr:
        kind = attribute.WhichOneof("value")
        found[attribute.name] = (kind, getattr(attribute, kind))
    return found


def pair() -> Graph:
    """A transpose and the product of its result with the input: [3, 2] x [2, 3] in float32."""
    nodes = [op("Transpose", "x", "t", "flip"), op("MatMul", "t x", "y", "forward/fc/MatMul")]
    return from_model(model(nodes, {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (3, 3))}), "pair")


def test_exact_bytes_of_a_node() -> None:
    content = converted(pair()).files[".0.et"]
    assert isinstance(content, bytes)
    field = lambda number, kind: bytes([number << 3 | kind])  # noqa: E731
    attribute_id = field(10, 2)

    def attribute(name: str, value: bytes) -> bytes:
        body = field(1, 2) + bytes([len(name)]) + name.encode() + value
        return attribute_id + bytes([len(body)]) + body

    def text(value: str) -> bytes:
        return b"\xea\x01" + bytes([len(value)]) + value.encode()  # field 29 needs a two-byte tag

    body = b"".join(
        [
            field(2, 2) + b"\x04flip",
            field(3, 0) + b"\x04",  # COMP_NODE
            attribute("is_cpu_op", b"\xd8\x01\x00"),  # field 27
            attribute("num_ops", field(9, 0) + b"\x01"),
            attribute("flops", field(9, 0) + b"\x00"),
            attribute("macs", field(9, 0) + b"\x00"),
            attribute("tensor_size", field(13, 0) + b"\x30"),  # 24 bytes read, 24 written
            attribute("op_type", text("Transpose")),
        ]
    )
    assert bytes([len(body)]) + body in content
    assert content[2:9] == field(1, 2) + b"\x051.0.0"


def test_types_dependencies_and_numbers() -> None:
    head, (flip, product) = trace(pair())
    assert head.version == "1.0.0"
    assert (product.id, product.name, product.type, list(product.data_deps)) == (1, "forward/fc/MatMul", 4, [0])
    assert list(flip.data_deps) == []
    assert attributes(product) == {
        "is_cpu_op": ("bool_val", False),
        "num_ops": ("int64_val", 36),
        "flops": ("int64_val", 36),
        "macs": ("int64_val", 18),
        "tensor_size": ("uint64_val", 24 + 24 + 36),
        "op_type": ("string_val", "MatMul"),
        "phase": ("string_val", "forward"),
        "layer": ("string_val", "fc"),
        "op": ("string_val", "MatMul"),
    }


@pytest.mark.parametrize("path", ["autoenc-train.onnx", "tensorflow/memnet-train.onnx"])
def test_a_whole_training_step(path: str) -> None:
    graph = load(GRAPHS / path)
    head, nodes = trace(graph)
    costs = graph_costs(graph)
    assert [n.name for n in nodes] == [n.name for n in graph.model.graph.node]
    made = {output: i for i, n in enumerate(graph.model.graph.node) for output in n.output}
    for index, (message, node, cost) in enumerate(zip(nodes, graph.model.graph.node, costs, strict=True)):
        assert message.id == index
        assert set(message.data_deps) == {made[i] for i in node.input if i in made}
        assert all(number < index for number in message.data_deps)
        found = attributes(message)
        assert found["flops"] == ("int64_val", cost.flops)
        assert found["tensor_size"] == ("uint64_val", cost.bytes_moved)
        # ASTRA-sim divides by the operations of a node that has bytes
        assert found["num_ops"][1] == cost.flops or (cost.flops == 0 and found["num_ops"][1] == 1)
    kept = converted(graph).kept
    assert kept == converted(graph).total
    assert attributes(head)["macs_kept"] == ("int64_val", kept.macs)


def test_what_is_not_known_is_not_written() -> None:
    _, (*_, unknown, known) = trace(data_dependent())
    assert unknown.name == "unknown"
    assert set(attributes(unknown)) == {"is_cpu_op", "op_type"}
    assert attributes(known)["num_ops"] == ("int64_val", 16)
    conversion = converted(data_dependent())
    row = next(row for row in conversion.left_out if row.op == "MatMul")
    assert (row.nodes, row.macs, row.bytes_moved) == (1, None, None)
    assert row.reason == "in the trace without num_ops and tensor_size, not known"
    assert conversion.kept.macs == 8
    assert conversion.total.macs is None


def test_control_flow_is_one_node() -> None:
    _, (loop, add) = trace(control_flow())
    assert attributes(loop)["op_type"] == ("string_val", "Loop")
    assert list(add.data_deps) == [0]
    assert "A control-flow node is one node of the trace, with its bodies." in converted(control_flow()).notes


def test_the_published_schema_reads_it() -> None:
    published = pytest.importorskip(
        "chakra.schema.protobuf.et_def_pb2", reason="install MLCommons chakra to read traces by its own schema"
    )
    head, nodes = trace(pair(), {name: getattr(published, name) for name in ("GlobalMetadata", "Node")})
    assert head.version == "1.0.0"
    assert nodes[1].type == published.COMP_NODE
    assert attributes(nodes[1])["tensor_size"] == ("uint64_val", 84)


def test_a_file_for_each_rank(tmp_path: Path) -> None:
    onnx.save(pair().model, tmp_path / "net.onnx")
    arguments = ["convert", str(tmp_path / "net.onnx"), "--to", "chakra", "--ranks", "3", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    files = sorted(path.name for path in (tmp_path / "out").glob("*.et"))
    assert files == ["net.0.et", "net.1.et", "net.2.et"]
    assert len({(tmp_path / "out" / name).read_bytes() for name in files}) == 1
    assert "note: Each of the 3 ranks runs the whole graph; nothing is sent between them." in result.stdout
    single = converted(pair())
    assert set(single.files) == {".0.et"}
    assert "ASTRA-sim wants two ranks or more: write them with --ranks 2." in single.notes
