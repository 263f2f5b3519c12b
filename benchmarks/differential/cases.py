"""onnx's backend tests of single nodes, as cases that can be run and put together."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

__all__ = ["Case", "node_cases"]

_DRAWS = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Dropout",
}
"""Op types whose outputs are other ones each time."""


@dataclass(frozen=True)
class Case:
    """A model with inputs.

    Attributes:
        name: What it is called.
        model: The model.
        inputs: Values in the order of the model's inputs.
        plain: The model before it was twisted into one that computes the same.
    """

    name: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    plain: onnx.ModelProto | None = None

    @property
    def fed(self) -> dict[str, Any]:
        """Values by the names of the model's inputs."""
        return {v.name: x for v, x in zip(self.model.graph.input, self.inputs, strict=True)}


@functools.cache
def node_cases() -> tuple[Case, ...]:
    """The tests of the installed onnx, without those that draw."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    return tuple(
        Case(test.name, test.model, inputs)
        for test in tests
        if not {node.op_type for node in test.model.graph.node} & _DRAWS
        for inputs, _ in test.data_sets[:1]
    )
