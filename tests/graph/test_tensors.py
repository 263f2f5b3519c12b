"""Tensors by name: sizes in bytes, and what each body sees."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from fathom_onnx.graph.bodies import TOP
from fathom_onnx.graph.tensors import Tensor, tensors_by_body, tensors_of
from support.graphs.small_models import BOOL, FLOAT, model, op

INFO = helper.make_tensor_value_info


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("float32", 60),
        ("bool", 15),
        ("bfloat16", 30),
        ("float8_e4m3fn", 15),
        ("int4", 8),
        ("uint4", 8),
        ("float4_e2m1fn", 8),
        ("int2", 4),
        ("uint2", 4),
        ("float6_e2m3fn", 12),
        ("object", None),
        ("", None),
    ],
)
def test_bytes_by_element_type(dtype: str, size: int | None) -> None:
    assert Tensor("t", (5, 3), dtype).size_bytes == size
    assert Tensor("t", None, dtype).size_bytes is None


def test_a_sparse_initializer_has_its_dense_shape() -> None:
    made = model([op("Relu", "w", "y")], {}, {"y": (FLOAT, None)}, infer=False)
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    places = numpy_helper.from_array(np.array([0, 7]), "at")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3]))
    assert tensors_of(made.graph)["w"] == Tensor("w", (4, 3), "float32")


def test_a_body_sees_its_own_tensors_and_those_around_it() -> None:
    inner = helper.make_graph([op("Exp", "t", "deep")], "inner", [], [INFO("deep", FLOAT, [2])])
    parts = {
        # t is declared, u is not: it hides the u around it all the same
        "then_branch": helper.make_graph(
            [op("Exp", "x", "t"), op("Exp", "t", "u"), op("If", "c", "a", then_branch=inner, else_branch=inner)],
            "then",
            [],
            [INFO("a", FLOAT, [2])],
            value_info=[INFO("t", FLOAT, [2])],
        ),
        "else_branch": helper.make_graph([op("Exp", "u", "t")], "else", [], [INFO("t", FLOAT, [9])]),
    }
    nodes = [op("Exp", "x", "u"), op("If", "c", "y", **parts)]
    made = model(nodes, {"x": (FLOAT, (4,)), "c": (BOOL, ())}, {"y": (FLOAT, None)}, infer=False)
    made.graph.value_info.append(INFO("u", FLOAT, [4]))
    seen = {where: {n: t.shape for n, t in tensors.items()} for where, tensors in tensors_by_body(made.graph).items()}
    top = {"x": (4,), "c": (), "u": (4,), "y": None}
    assert seen == {
        TOP: top,
        (1, "then_branch"): {**top, "t": (2,), "u": None, "a": (2,)},
        (5, "then_branch"): {**top, "t": (2,), "u": None, "a": (2,), "deep": (2,)},
        (5, "else_branch"): {**top, "t": (2,), "u": None, "a": (2,), "deep": (2,)},
        (1, "else_branch"): {**top, "t": (9,)},
    }
