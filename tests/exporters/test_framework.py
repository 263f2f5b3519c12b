"""A framework's models: the built-in ones, and those that other packages add by entry point."""

from __future__ import annotations

from typing import Any

import pytest

from fathom_exporters.framework import Framework
from fathom_exporters.jax.models import JAX
from fathom_exporters.tensorflow.models import TENSORFLOW
from fathom_exporters.torch.models import TORCH
from fathom_onnx.errors import UnknownNameError

FRAMEWORKS = pytest.mark.parametrize("framework", [TORCH, TENSORFLOW, JAX], ids=["torch", "tensorflow", "jax"])


@FRAMEWORKS
def test_models_of_other_packages_are_found_by_entry_point(
    framework: Framework[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "another"

        def load(self) -> str:
            return "a model"

    def entry_points(group: str) -> list[Point]:
        return [Point()] if group == f"fathom_onnx.models.{framework.name}" else []

    monkeypatch.setattr("fathom_exporters.framework.entry_points", entry_points)
    assert framework.workloads() == (*framework.built_in, "another")
    assert framework.model("another") == "a model"


@FRAMEWORKS
def test_a_workload_without_a_model_is_an_error(framework: Framework[Any]) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown {framework.title} model 'residul'; did you mean 'residual'"):
        framework.model("residul")
