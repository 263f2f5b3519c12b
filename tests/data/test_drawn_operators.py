"""Every operator: what onnx's own tests of nodes feed, drawn instead."""

from __future__ import annotations

import itertools
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx.backend.test.case.node import collect_testcases

from fathom_onnx.data.drawn.batches import drawn_inputs
from fathom_onnx.errors import GraphError
from fathom_onnx.graph import from_model

REFUSED = {"test_sequence_map_add_1_sequence_1_tensor", "test_sequence_map_identity_1_sequence_1_tensor"}
"""These leave a dimension open, whose size must be given."""

FAILING = {"Col2Im"}
"""Sizes of an image and of a block that must fit each other, and a third tensor."""

FAILING_WITHOUT_SHAPES = {"MaxUnpool"}
"""Sizes that only a declared output tells."""


def value(given: Any) -> Any:
    """A test's value as onnxruntime takes it."""
    if isinstance(given, onnx.SequenceProto):
        return onnx.numpy_helper.to_list(given)
    if isinstance(given, onnx.OptionalProto):
        return onnx.numpy_helper.to_optional(given)
    return onnx.numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else given


def session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def runs_with_its_own(case: Any) -> bool:
    try:
        names = [info.name for info in case.model.graph.input]
        session(case.model).run(None, dict(zip(names, map(value, case.data_sets[0][0]), strict=True)))
    except Exception:
        return False
    return True


def fails(model: onnx.ModelProto) -> str:
    """The error of a model that is fed with drawn values, or nothing."""
    graph = from_model(model, "node")
    drawn = drawn_inputs(graph)
    try:
        opened = session(graph.model)
        for batch in itertools.islice(drawn.batches(0), 2):
            opened.run(None, batch)
    except Exception as error:
        return f"{drawn.said()}: {error}"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("shapes", [True, False])
def test_what_onnxruntime_runs_with_the_values_of_a_test_it_runs_with_drawn_ones(shapes: bool) -> None:
    failed: dict[str, str] = {}
    ran = 0
    for case in collect_testcases(None):
        if "_expanded" in case.name or not runs_with_its_own(case):
            continue
        if not shapes:
            for output in case.model.graph.output:
                if output.type.HasField("tensor_type"):
                    output.type.tensor_type.ClearField("shape")
        try:
            error = fails(case.model)
        except GraphError:
            assert case.name in REFUSED
            continue
        ran += 1
        if error and case.model.graph.node[0].op_type not in FAILING | (set() if shapes else FAILING_WITHOUT_SHAPES):
            failed[case.name] = error
    assert failed == {}
    assert ran > 900
