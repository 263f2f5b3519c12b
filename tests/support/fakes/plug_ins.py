"""Workloads of other packages, without a package: what their entry points give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

from fathom_onnx import plugins
from fathom_onnx.workloads.config import Definition
from fathom_onnx.workloads.contract import (
    Draw,
    GradientDescent,
    Initialiser,
    Layer,
    TensorSpec,
    Variable,
    Workload,
)


@dataclass(frozen=True)
class NoFields:
    """The least that a configuration can be."""


def line(preset: str, config: Any) -> Workload:
    """A linear layer of 3 x 2 weights."""
    return Workload(
        name="line",
        preset=preset,
        config=config,
        features=(TensorSpec("x", (4, 2), draw=Draw("normal")),),
        outputs=(TensorSpec("y", (4, 3)),),
        layers=(Layer("linear", "linear"),),
        parameters=(Variable("linear.weight", (3, 2), Initialiser.constant(1.0)),),
        optimizer=GradientDescent(0.1),
    )


def definition(config: Any = NoFields(), preset: str = "paper") -> Definition:
    """The workload ``line`` with one preset."""
    return Definition("line", "a line", {preset: config}, line)


def install(monkeypatch: pytest.MonkeyPatch, given: Mapping[str, Any]) -> None:
    """Let entry points give workloads: name to what is loaded, or to the error of loading it."""

    def point(name: str, value: Any) -> Any:
        def load() -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return SimpleNamespace(name=name, load=load)

    points = [point(name, value) for name, value in given.items()]
    monkeypatch.setattr(
        plugins,
        "entry_points",
        lambda group: points if group == "fathom_onnx.workloads" else entry_points(group=group),
    )
