"""Batches taken apart into leaves and put together again."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from fathom_onnx.recipes.batch import flatten, is_tensor, path_name, tensors, unflatten

Pair = namedtuple("Pair", ["left", "right"])


@dataclass(frozen=True)
class Sample:
    image: Any
    label: Any = 0


X, Y = np.zeros((2, 3), np.float32), np.ones(2, np.int64)


@pytest.mark.parametrize(
    ("batch", "paths"),
    [
        (X, [()]),
        ((X, Y), [(0,), (1,)]),
        ([X, (Y, 2)], [(0,), (1, 0), (1, 1)]),
        ({"b": X, "a": [Y, None]}, [("b",), ("a", 0), ("a", 1)]),
        ({"a": {"b": X}, "c": ()}, [("a", "b")]),
        (OrderedDict(z=X, y=Y), [("z",), ("y",)]),
        (UserDict(z=X, y="text"), [("z",), ("y",)]),
        (MappingProxyType({"z": X}), [("z",)]),
        (Pair(X, {"k": Y}), [(0,), (1, "k")]),
        (Sample(X, Y), [("image",), ("label",)]),
        (None, [()]),
    ],
)
def test_leaves_have_paths_in_the_order_of_the_structure(batch: Any, paths: list[Any]):
    leaves = flatten(batch)
    assert list(leaves) == paths
    other = unflatten(batch, {path: number for number, path in enumerate(paths)})
    assert list(flatten(other).values()) == list(range(len(paths)))
    assert type(other) is (int if paths == [()] else dict if isinstance(batch, MappingProxyType) else type(batch))
    assert all(a is b for a, b in zip(flatten(batch).values(), leaves.values(), strict=True))  # itself unchanged


def test_leaves_that_are_left_out_are_the_batchs_own():
    batch = {"a": X, "b": (Y, 3)}
    assert unflatten(batch, {("a",): "new"}) == {"a": "new", "b": (Y, 3)}


@pytest.mark.parametrize(
    ("leaf", "expected"), [(X, True), (np.float32(1), False), (np.zeros(()), True), (1.5, False), ("x", False)]
)
def test_tensors_have_a_shape_and_an_element_type(leaf: Any, expected: bool):
    assert is_tensor(leaf) is expected
    assert list(tensors({"a": leaf, "b": 1})) == ([("a",)] if expected else [])


def test_paths_as_names():
    assert path_name(("a", 0, "b")) == "a.0.b"
    assert path_name((0, "b"), "tokens") == "tokens.b"
    assert path_name((), "x") == "x"
