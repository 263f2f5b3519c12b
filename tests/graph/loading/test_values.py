"""The file of stored values: what is written is read, and nothing else is taken for it."""

from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.errors import GraphError
from fathom_onnx.graph.loading.values import read_values, values_path, write_values


def test_values_survive_the_file_in_shape_and_type(tmp_path: Path):
    values = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3).T, "step": np.array(3, np.int64)}
    digest = write_values(tmp_path / "values.safetensors", "m.onnx", values)
    found = read_values(tmp_path / "values.safetensors", digest)
    assert {n: (v.shape, v.dtype, v.tolist()) for n, v in found.items()} == {
        n: (v.shape, v.dtype, v.tolist()) for n, v in values.items()
    }


def test_values_of_another_graph_are_kept_and_those_of_the_same_replaced(tmp_path: Path):
    write_values(values_path(tmp_path / "a.onnx"), "a.onnx", {"x": np.zeros(1)})
    assert values_path(tmp_path / "a.onnx").name == "values.safetensors"
    assert values_path(tmp_path / "b.onnx").name == "b.values.safetensors"


@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_a_file_that_is_not_the_graphs_is_refused(tmp_path: Path, damage: str):
    path = tmp_path / "values.safetensors"
    digest = write_values(path, "m.onnx", {"x": np.ones(4, np.float32)})
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        write_values(path, "m.onnx", {"x": np.zeros(4, np.float32)})
    else:
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(GraphError):
        read_values(path, digest)
