"""Graph files: loading, what is wrong with bad ones, addresses, metadata, files written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fathom_onnx.errors import GraphError, OutputError, UnknownNameError
from fathom_onnx.graph import Address, from_model, load
from fathom_onnx.graph.files import write_aside, write_text
from fathom_onnx.vocabulary import OPS, OpClass
from support.graphs.small_models import line_training


def small_model(batch: int | str = 2) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
    nodes = [helper.make_node("Relu", ["x"], ["h"], "a"), helper.make_node("Exp", ["h"], ["y"], "b")]
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(small_model(), path)
    graph = load(path)
    assert graph.name == "m"
    assert graph.metadata is None
    assert [t.shape for t in graph.inputs + graph.outputs] == [(2, 3), (2, 3)]
    assert graph.tensors["h"].shape == (2, 3)  # inferred: the file has no value_info
    assert graph.tensors["h"].size_bytes == 24
    assert len(graph.sha256) == 64


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no file"):
        load(tmp_path / "none.onnx")
    with pytest.raises(GraphError, match="is a folder"):
        load(tmp_path)
    text = tmp_path / "text.onnx"
    text.write_text("this is not a graph")
    with pytest.raises(GraphError, match=r"text\.onnx' is not an ONNX file or is cut short"):
        load(text)
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    with pytest.raises(GraphError, match=r"empty"):
        load(empty)
    whole = small_model().SerializeToString()
    for part in (len(whole) // 3, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / "cut.onnx"
        cut.write_bytes(whole[:part])
        with pytest.raises(GraphError):
            load(cut)


@pytest.mark.parametrize(("stored", "purpose"), [("plain", "simulators"), ("fast", "onnxruntime"), ("cuda", "cuda")])
def test_metadata_of_an_earlier_version(stored: str, purpose: str) -> None:
    model = line_training().model
    fields = json.loads(model.metadata_props[0].value)
    assert fields["lowering"] == "simulators"
    model.metadata_props[0].value = json.dumps({**fields, "lowering": stored})
    graph = from_model(model, "line")
    assert graph.metadata is not None
    assert graph.metadata.purpose == purpose


def test_dynamic_dimensions() -> None:
    with pytest.raises(GraphError, match=r"dynamic dimension 'N' of input 'x'.*--dim N=N"):
        from_model(small_model("N"), "m")
    assert from_model(small_model("N"), "m", dimensions={"N": 5}).tensors["h"].shape == (5, 3)
    with pytest.raises(UnknownNameError, match="unknown dynamic dimension 'M'"):
        from_model(small_model("N"), "m", dimensions={"N": 5, "M": 1})


def test_addresses() -> None:
    address = Address.parse("backward/layer1.0.conv1/Conv2DBackFilter/Gemm_2")
    assert address == Address("backward", "layer1.0.conv1", "Conv2DBackFilter", "Gemm_2")
    assert str(address) == "backward/layer1.0.conv1/Conv2DBackFilter/Gemm_2"
    assert address.op_class is OpClass.D
    assert Address("optimizer", "fc.weight", "ApplyAdam").layer == "fc"
    assert Address("optimizer", "step", "ApplyAdam").layer == "step"
    for name in ("", "/conv1/Conv", "forward/conv1", "sideways/conv1/Conv2D", "forward/conv1/Konv", "forward//Conv2D"):
        assert Address.parse(name) is None


def test_the_vocabulary_covers_the_papers_figure() -> None:
    figure = (  # in the figure's own order
        *("Add", "Sub", "Mul", "Div", "Pow", "Softmax", "MatMul", "CrossEntropy", "MaxPoolGrad", "Sum", "Conv2D"),
        *("Conv2DBackFilter", "Conv2DBackInput", "RandomNormal", "ApplyAdam", "ApplyRMSProp", "Transpose", "Tile"),
        *("Select", "Pad", "Reshape", "Shape"),
    )
    assert {name for name, op in OPS.items() if op.in_paper} == set(figure)
    assert "".join(OPS[name].op_class for name in figure) == "AAAAAABCCCDDDEFFGGGGGG"


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "a" / "f.txt"
    write_text(target, "first")
    with pytest.raises(RuntimeError), write_aside(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_text() == "first"
    assert os.listdir(target.parent) == ["f.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make folder"):
        write_text(tmp_path / "file" / "f.txt", "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fathom_onnx.graph.files as files

    class Full:
        def __init__(self, **kwargs: object) -> None:
            self.name = str(tmp_path / "part")
            Path(self.name).touch()
            self.file = open("/dev/full", "wb")  # noqa: SIM115

        def __enter__(self) -> object:
            return self

        def __exit__(self, *args: object) -> None:
            with contextlib.suppress(OSError):
                self.file.close()

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

        def fileno(self) -> int:
            return self.file.fileno()

    monkeypatch.setattr(files.tempfile, "NamedTemporaryFile", Full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_text(tmp_path / "out.txt", "x" * 10)
    assert os.listdir(tmp_path) == []


def test_hash_does_not_depend_on_where_a_graph_lies(tmp_path: Path) -> None:
    data = small_model().SerializeToString(deterministic=True)
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(data)
    assert load(tmp_path / "a.onnx").sha256 == load(tmp_path / "b.onnx").sha256
    assert np.dtype(load(tmp_path / "a.onnx").inputs[0].dtype) == np.float32
