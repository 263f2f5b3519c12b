"""Every op of the installed onnx and onnxruntime has one cost, or a reason; and one canonical op."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx.defs
import pytest

from fathom_onnx.analysis.cost.formulas import CONTRIB, FREE, ML, NO_ARITHMETIC, ONNX, PREVIEW, UNKNOWN, rule
from fathom_onnx.graph.op_types import UNLISTED, canonical_op, class_of_op

OWN = ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")


def registered_by_onnx() -> set[tuple[str, str]]:
    """Without the domain that our own translators register, of which no file holds an op."""
    found = {(s.domain, s.name) for s in onnx.defs.get_all_schemas_with_history()}
    return {(domain, op) for domain, op in found if not domain.startswith("fathom.")}


def registered_by_onnxruntime() -> set[tuple[str, str]]:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    return {(s.domain, s.name) for s in state.get_all_operator_schema()}


def in_the_tables() -> Iterator[tuple[str, str]]:
    for domain, rules in (("", ONNX), ("com.microsoft", CONTRIB), ("ai.onnx.ml", ML), ("ai.onnx.preview", PREVIEW)):
        yield from ((domain, op) for op in rules)
        yield from ((domain, op) for op in UNKNOWN[domain])


def test_what_onnx_registers_has_a_cost_or_a_reason() -> None:
    found = registered_by_onnx()
    assert len(found) > 200
    assert [key for key in sorted(found) if "is in no table" in rule(key[1], key[0]).reason] == []


def test_what_onnxruntime_registers_has_a_cost_or_a_reason() -> None:
    found = registered_by_onnxruntime()
    assert {domain for domain, _ in found} >= {"", "ai.onnx.ml", *OWN}
    assert [key for key in sorted(found) if "is in no table" in rule(key[1], key[0]).reason] == []


def test_what_is_registered_has_a_canonical_op_with_a_class() -> None:
    found = registered_by_onnx() | registered_by_onnxruntime()
    assert [key for key in sorted(found) if class_of_op(canonical_op(key[1], key[0])) == UNLISTED] == []


def test_the_tables_hold_nothing_that_is_not_registered() -> None:
    known = defaultdict(set)
    for domain, op in registered_by_onnx() | registered_by_onnxruntime():
        folded = "com.microsoft" if domain in OWN else "ai.onnx.preview" if "preview" in domain else domain
        known[folded].add(op)
    assert [key for key in in_the_tables() if key[1] not in known[key[0]]] == []


def test_an_op_is_listed_once() -> None:
    listed = list(in_the_tables())
    assert len(listed) == len(set(listed))
    assert set(FREE) <= NO_ARITHMETIC


def test_reasons_are_told() -> None:
    assert rule("NonMaxSuppression", "").reason == "how many comparisons it makes is data"
    assert rule("Unique", "com.microsoft") == rule("Unique", "")
    assert rule("TreeEnsemble", "ai.onnx.ml").reason == "which path through each tree is taken is data"
    assert rule("Gradient", "ai.onnx.preview.training").reason == "it stands for a graph that a runtime makes"
    assert rule("Conv", "my.own").reason == "operator 'my.own::Conv' is in no table"
    assert rule("Unheard", "").reason == "operator 'Unheard' is in no table"
