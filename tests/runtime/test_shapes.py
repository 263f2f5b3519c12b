"""Shapes in a trace, by hand-written events as onnxruntime writes them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fathom_onnx.errors import RunError
from fathom_onnx.runtime.traces.shapes import Form, TensorShape, read_shapes

FLOAT, BYTES = TensorShape("float32", (2, 3)), TensorShape("uint8", ())


def node(name: str, taken: str, given: str) -> str:
    return (
        '{"cat" : "Node","pid" :1,"tid" :1,"dur" :5,"ts" :7,"ph" : "X","name" :"' + name + '_kernel_time","args" : {'
        f'"op_name" : "Op","input_type_shape" : {taken},"provider" : "CPUExecutionProvider",'
        f'"output_type_shape" : {given}}}}}'
    )


RUN = '{"cat" : "Session","pid" :1,"tid" :1,"dur" :9,"ts" :1,"ph" : "X","name" :"model_run","args" : {}}'


def trace(path: Path, *events: str) -> Path:
    path.write_bytes(gzip.compress(("[\n" + ",\n".join(events) + "\n]\n").encode()))
    return path


def test_forms_are_counted_by_step(tmp_path: Path) -> None:
    small, large = '[{"float":[2,3]},{"uint8":[]}]', '[{"float":[4,3]}]'
    path = trace(
        tmp_path / "t.json.gz",
        node("k0", large, large),
        RUN,  # warm-up
        *(node("k0", small, "[]"), node("k0", large, small), node("k0", small, "[]"), RUN),
        *(node("k0", large, small), node("k1", "[]", '[{"Int4x2":[8]}]'), RUN),
    )
    shapes = read_shapes([path], [1])
    assert shapes["k0"].forms == (
        Form((FLOAT, BYTES), ()),
        Form((TensorShape("float32", (4, 3)),), (FLOAT, BYTES)),
    )
    assert shapes["k0"].calls.tolist() == [[2, 1], [0, 1]]
    assert shapes["k1"].forms == (Form((), (TensorShape("int4", (8,)),)),)
    assert shapes["k1"].calls.tolist() == [[0], [1]]


def test_several_traces_follow_one_another_and_names_may_be_any(tmp_path: Path) -> None:
    first = trace(tmp_path / "a.json.gz", node('/a \\"b\\"/Op', '[{"double":[1]}]', "[]"), RUN)
    second = trace(tmp_path / "b.json.gz", node("x", "[]", "[]"), RUN, node("x", "[]", "[]"), RUN)
    shapes = read_shapes([first, second], [0, 1])
    assert set(shapes) == {'/a "b"/Op', "x"}
    assert shapes['/a "b"/Op'].forms[0].inputs == (TensorShape("float64", (1,)),)
    assert shapes["x"].calls.tolist() == [[0], [1]]


def test_an_event_that_is_not_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has an event that cannot be read"):
        read_shapes([trace(tmp_path / "t.json.gz", '{"cat" : "Node"}', RUN)], [0])
