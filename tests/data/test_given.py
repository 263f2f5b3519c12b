"""Values that a caller gives: files, types, shapes, sizes of open dimensions, sequences and optional inputs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fathom_onnx.cli import main
from fathom_onnx.data import GivenBatches, load_with_inputs, read_input_files, read_inputs, run_batches
from fathom_onnx.data.given.casting import in_type
from fathom_onnx.data.given.declared import declared_inputs
from fathom_onnx.errors import DataError, GraphError, UnknownNameError, UsageError
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.profiling import profile
from support.graphs.small_models import FLOAT, INT64, model, op


def written(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def fed(inputs: dict[str, tuple[int, Any]]) -> onnx.ModelProto:
    """A model that hands each of its inputs on."""
    nodes = [op("Identity", name, f"{name}.out", name) for name in inputs]
    return model(nodes, inputs, {f"{name}.out": found for name, found in inputs.items()})


def saved(path: Path, made: onnx.ModelProto) -> Path:
    onnx.save(made, path)
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


# files


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz", x=np.arange(3), text=np.array(["a", "bc"]))
    (file,) = read_input_files([path])
    assert file.path == path
    assert {name: value.tolist() for name, value in file.arrays.items()} == {"x": [0, 1, 2], "text": ["a", "bc"]}


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x = 1")
    np.save(tmp_path / "single.npy", np.ones(2))
    written(tmp_path / "objects.npz", x=np.array(["a", None], dtype=object))
    written(tmp_path / "cut.npz", x=np.arange(1000))
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "flipped.npz").write_bytes(whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:])
    (tmp_path / "cut.npz").write_bytes(whole[:500])
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as other:
        other.writestr("readme.txt", "no array")
    for name, said in {
        "none.npz": "no file '.*none.npz'",
        "": "is a folder",
        "text.npz": "'.*text.npz' is not an .npz file; write it with numpy.savez",
        "single.npy": "'.*single.npy' is not an .npz file",
        "objects.npz": "'x' in '.*objects.npz' holds Python objects; write strings as an array of NumPy's type str",
        "cut.npz": "is not an .npz file",
        "flipped.npz": "is damaged",
        "zip.npz": "is not an array",
    }.items():
        with pytest.raises(DataError, match=said) as found:
            read_input_files([tmp_path / name])
        assert "\n" not in str(found.value)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    """A pickle of a call: loading it would write the file."""
    marker = tmp_path / "executed"
    payload = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + payload)
    with pytest.raises(DataError, match="holds Python objects"):
        read_input_files([tmp_path / "a.npz"])
    assert not marker.exists()


# types


@pytest.mark.parametrize(
    ("value", "dtype", "remark"),
    [
        (np.array([1, 2], np.int64), "int64", ""),
        (np.array([1, 2], np.int32), "int64", "int32 in the file, int64 in the graph, the same values"),
        (np.array([1, 255], np.int64), "uint8", "int64 in the file, uint8 in the graph, the same values"),
        (np.array([0, 1], np.int64), "bool", "int64 in the file, bool in the graph, the same values"),
        (np.array([True, False]), "int64", "bool in the file, int64 in the graph, the same values"),
        (np.array([0.5, np.nan]), "float32", "float64 in the file, float32 in the graph, the same values"),
        (np.array([0.1, np.inf]), "float32", "rounded from float64 to float32"),
        (np.array([3, 4]), "float32", "int64 in the file, float32 in the graph, the same values"),
        (np.array([3.0, 4.0]), "int64", "float64 in the file, int64 in the graph, the same values"),
        (np.array([1.0, 0.1], np.float32), "bfloat16", "rounded from float32 to bfloat16"),
        (np.array([-8, 7]), "int4", "int64 in the file, int4 in the graph, the same values"),
    ],
)
def test_values_come_in_the_type_of_the_graph(value: np.ndarray, dtype: str, remark: str) -> None:
    cast, said = in_type(value, dtype, "'x'")
    assert said == remark
    assert cast.dtype == np.dtype(dtype)
    np.testing.assert_allclose(cast.astype(float), value.astype(float), rtol=1e-2)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([2**31]), "int32"),
        (np.array([-1]), "uint8"),
        (np.array([2]), "bool"),
        (np.array([1.5]), "int64"),
        (np.array([2**24 + 1]), "float32"),
        (np.array([1e39]), "float32"),
        (np.array([70000.0], np.float32), "float16"),
        (np.array([8]), "int4"),
        (np.array([1 + 1j]), "float32"),
        (np.array([2.0**64]), "uint64"),
        (np.array([2.0**63]), "int64"),
        (np.array([2**63 - 1]), "float64"),
        (np.array([np.inf]), "int64"),
        (np.array([np.nan]), "int64"),
        (np.array(["a"]), "int64"),
        (np.array([1]), "object"),
        (np.array([1], "datetime64[s]"), "object"),
        (np.zeros(1, "V3"), "bfloat16"),
        (np.zeros(1, "V4"), "float32"),
        (np.array([b"\xff"]), "object"),
    ],
)
def test_values_that_the_type_cannot_hold_are_refused(value: np.ndarray, dtype: str) -> None:
    with pytest.raises(DataError, match="'x' is "):
        in_type(value, dtype, "'x'")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), st.sampled_from(["int8", "uint8", "int32", "uint64"]))
@settings(max_examples=60)
def test_integers_are_never_changed(numbers: list[int], dtype: str) -> None:
    value = np.array(numbers, np.int64)
    fits = all(np.iinfo(dtype).min <= n <= np.iinfo(dtype).max for n in numbers)
    if fits:
        assert in_type(value, dtype, "'x'")[0].tolist() == numbers
    else:
        with pytest.raises(DataError, match="cannot hold"):
            in_type(value, dtype, "'x'")


def test_types_that_a_file_keeps_as_bytes_are_known_again(tmp_path: Path) -> None:
    kinds = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4)
    values = {np.dtype(kind).name: np.array([1, -2], kind) for kind in kinds}
    (file,) = read_input_files([written(tmp_path / "a.npz", **values)])
    for name, value in values.items():
        assert file.arrays[name].dtype.kind == "V"
        cast, remark = in_type(file.arrays[name], name, "'x'")
        assert (cast.dtype, cast.tolist(), remark) == (value.dtype, value.tolist(), "")


def test_strings_become_pythons_own() -> None:
    for value in (np.array(["a", "é"]), np.array([b"a", "é".encode()])):
        cast, remark = in_type(value, "object", "'x'")
        assert (cast.tolist(), cast.dtype, remark) == (["a", "é"], np.dtype(object), "")


# shapes and names


def test_the_sizes_of_open_dimensions_are_those_of_the_values(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.onnx", fed({"x": (FLOAT, ["N", 3, None]), "ids": (INT64, ["N"])}))
    one = written(tmp_path / "a.npz", x=np.ones((5, 3, 7), np.float32), ids=np.arange(5))
    graph, batches = load_with_inputs(path, {}, [one])
    assert {t.name: t.shape for t in graph.inputs} == {"x": (5, 3, 7), "ids": (5,)}
    assert batches is not None
    assert batches.batches[0]["ids"].tolist() == [0, 1, 2, 3, 4]
    assert load_with_inputs(path, {"N": 5, "x.2": 7}, [])[1] is None


def test_sizes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.onnx", fed({"x": (FLOAT, ["N", 3]), "ids": (INT64, ["N"])}))
    x, ids = np.ones((5, 3), np.float32), np.arange(4)
    both = written(tmp_path / "both.npz", x=x, ids=ids)
    a, b = written(tmp_path / "a.npz", x=x), written(tmp_path / "b.npz", x=x[:2])
    with pytest.raises(DataError, match=r"'N' is 5 by 'x' in '.*both.npz' and 4 by 'ids' in '.*both.npz'"):
        load_with_inputs(path, {}, [both])
    with pytest.raises(DataError, match=r"'N' is 5 by 'x' in '.*a.npz' and 2 by 'x' in '.*b.npz'; a run has one size"):
        load_with_inputs(path, {}, [a, b])
    with pytest.raises(DataError, match=r"'x' in '.*a.npz' has shape \[5, 3\], and the graph takes float32 \[4, 3\]"):
        load_with_inputs(path, {"N": 4}, [a])
    with pytest.raises(GraphError, match="'N'"):
        load_with_inputs(
            saved(tmp_path / "h.onnx", fed({"x": (FLOAT, [2]), "y": (FLOAT, ["N"])})),
            {},
            [written(tmp_path / "c.npz", x=np.ones(2))],
        )


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    graph = from_model(fed({"x": (FLOAT, [2, 3]), "scalar": (INT64, [])}), "g")
    for arrays, said in (
        ({"x": np.ones((3, 2))}, r"'x' in '.*' has shape \[3, 2\], and the graph takes float32 \[2, 3\]"),
        ({"x": np.ones(6)}, r"has shape \[6\]"),
        ({"scalar": np.ones(1, np.int64)}, r"has shape \[1\], and the graph takes int64 \[\]"),
        ({"x": np.full((2, 3), "a")}, r"'x' in '.*' is <U1, and the graph takes float32"),
    ):
        with pytest.raises(DataError, match=said):
            read_inputs(graph, [written(tmp_path / "a.npz", **arrays)])
    with pytest.raises(UnknownNameError, match=r"unknown input in '.*b.npz' 'scalr'; did you mean 'scalar'"):
        read_inputs(graph, [written(tmp_path / "b.npz", scalr=np.int64(1))])


def test_names_may_have_any_characters(tmp_path: Path) -> None:
    name = "serving/default:x.0"
    graph = from_model(fed({name: (FLOAT, [1])}), "g")
    path = tmp_path / "a.npz"
    np.savez(path, **{name: np.ones(1, np.float32)})
    assert read_inputs(graph, [path]).batches[0][name].tolist() == [1.0]


def sequence_graph() -> Graph:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, ["n", 2]))
    maybe = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    nodes = [op("ConcatFromSequence", "xs", "y", "join", axis=0), op("OptionalHasElement", "maybe", "has", "has")]
    inputs = [helper.make_value_info("xs", kind), helper.make_value_info("maybe", maybe)]
    outputs = [
        helper.make_tensor_value_info("y", FLOAT, [None, 2]),
        helper.make_tensor_value_info("has", TensorProto.BOOL, []),
    ]
    made = helper.make_graph(nodes, "g", inputs, outputs)
    return from_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "g")


def test_what_is_declared_of_sequences_and_optional_values() -> None:
    xs, maybe = declared_inputs(sequence_graph())
    assert (xs.sequence, xs.optional, xs.shape, xs.sizes, str(xs)) == (
        True,
        False,
        (None, 2),
        None,
        "a sequence of float32 [?, 2]",
    )
    assert (maybe.sequence, maybe.optional, maybe.sizes, str(maybe)) == (False, True, (2,), "float32 [2], optional")


def test_an_optional_input_is_absent_where_a_file_says_nothing_of_it(tmp_path: Path) -> None:
    """Where there is nothing else to say, the file is empty."""
    empty = written(tmp_path / "empty.npz")
    assert read_inputs(sequence_graph(), [empty]).batches == ({"maybe": None},)
    with pytest.raises(DataError, match=r"holds no arrays; write some with numpy.savez"):
        read_inputs(from_model(fed({"x": (FLOAT, [1])}), "g"), [empty])


@pytest.mark.parametrize("sign", ["/", "."])
def test_the_tensors_of_a_sequence_are_numbered(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "a.npz"
    # more than ten, so that the order of the numbers is not that of the names
    np.savez(path, **{f"xs{sign}{n}": np.full((1, 2), n, np.float32) for n in range(12)})
    batch = read_inputs(sequence_graph(), [path]).batches[0]
    assert [float(value[0, 0]) for value in batch["xs"]] == list(range(12))
    assert batch["maybe"] is None


def test_a_sequence_with_gaps_or_as_one_array_is_refused(tmp_path: Path) -> None:
    ones = np.ones((1, 2), np.float32)
    gap, whole = tmp_path / "gap.npz", tmp_path / "whole.npz"
    np.savez(gap, **{"xs.0": ones, "xs.2": ones})
    np.savez(whole, xs=ones)
    with pytest.raises(DataError, match=r"has no 'xs.1' and later ones; number the tensors from 0 on"):
        read_inputs(sequence_graph(), [gap])
    with pytest.raises(DataError, match=r"is one array, and the input is a sequence; name its tensors xs.0, xs.1"):
        read_inputs(sequence_graph(), [whole])


# batches of a run


def test_what_is_not_given_is_drawn_and_said(tmp_path: Path) -> None:
    graph = from_model(fed({"x": (FLOAT, [3]), "y": (FLOAT, [3])}), "g")
    given = read_inputs(
        graph, [written(tmp_path / "a.npz", x=np.arange(3.0)), written(tmp_path / "b.npz", x=[1, 1, 1])]
    )
    batches, facts = run_batches(graph, given, 0, steps=10)
    assert [batch["x"].tolist() for batch in batches] == [[0, 1, 2], [1, 1, 1]]
    assert all(batch["y"].shape == (3,) for batch in batches)
    assert batches[0]["y"].tolist() != batches[1]["y"].tolist()
    assert facts["kind"] == "given"
    assert facts["inputs"]["x"].startswith("given (")
    assert facts["description"].startswith(f"values given by {tmp_path / 'a.npz'}, {tmp_path / 'b.npz'}")


def test_batches_without_a_common_set_of_inputs_are_refused() -> None:
    graph = from_model(fed({"x": (FLOAT, [1]), "y": (FLOAT, [1])}), "g")
    x = np.ones(1, np.float32)
    with pytest.raises(UsageError, match="only some of the batches have 'y'; give every batch the same inputs"):
        run_batches(graph, [{"x": x, "y": x}, {"x": x}], 0, 1)
    with pytest.raises(UsageError, match="no batch is given"):
        run_batches(graph, GivenBatches(()), 0, 1)


def test_what_is_fed_is_what_the_file_holds(tmp_path: Path) -> None:
    """A branch that only the given value takes."""
    then = helper.make_graph(
        [op("Exp", "x", "t", "then/exp")], "t", [], [helper.make_tensor_value_info("t", FLOAT, [2])]
    )
    other = helper.make_graph(
        [op("Neg", "x", "e", "else/neg")], "e", [], [helper.make_tensor_value_info("e", FLOAT, [2])]
    )
    nodes = [
        op("Equal", "rate constant", "is", "equal"),
        helper.make_node("If", ["is"], ["y"], "if", then_branch=then, else_branch=other),
    ]
    made = model(nodes, {"x": (FLOAT, [2]), "rate": (INT64, [])}, {"y": (FLOAT, [2])}, {"constant": np.int64(16000)})
    graph = from_model(made, "g")
    for rate, ran in ((16000, "then/exp"), (8000, "else/neg")):
        given = read_inputs(graph, [written(tmp_path / "a.npz", rate=np.int64(rate))])
        run = profile(graph, threads=1, warmup=0, steps=1, feeds=given, optimization="none")
        assert ran in set(run.nodes["name"])
        assert run.manifest["data"]["inputs"]["rate"] == "given"


# the command line


def test_profile_takes_input_files_and_no_sizes(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.onnx", fed({"x": (FLOAT, ["N", 3]), "y": (FLOAT, [2])}))
    one = written(tmp_path / "a.npz", x=np.ones((4, 3)))
    result = call("profile", path, "--inputs", one, "--steps", 1, "--warmup", 0, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert f"values given by {one}" in result.output
    assert "x: given (float64 in the file, float32 in the graph, the same values)" in result.output
    failed = call("profile", path, "--inputs", written(tmp_path / "b.npz", z=np.ones(3)))
    assert (failed.exit_code, failed.stderr.count("\n")) == (2, 1)
    assert "known: x, y" in failed.stderr
    absent = call("profile", path, "--inputs", tmp_path / "no.npz")
    assert (absent.exit_code, absent.stderr.count("\n")) == (6, 1)


def test_place_and_sweep_refuse_files_that_cannot_serve(tmp_path: Path) -> None:
    path = saved(tmp_path / "g.onnx", fed({"x": (FLOAT, [2])}))
    for arguments in (["place", path], ["sweep", "autoenc", "--preset", "tiny", "-o", tmp_path / "sweep"]):
        result = call(*arguments, "--inputs", tmp_path / "no.npz")
        assert result.exit_code == 6, result.output
        assert "no file" in result.stderr
    assert not (tmp_path / "sweep").exists()
    result = call("place", tmp_path, "--inputs", tmp_path / "no.npz")
    assert "is a run, which is not fed again" in result.stderr
