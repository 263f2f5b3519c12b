"""A framework that is not there, with one model: a line through the origin, fitted by gradient descent.

``loss = sum((w x - y)^2)``, so that the new weight is ``w - rate * 2 * sum(x (w x - y))``. With ``noisy`` the input is
scaled by uniform noise of its shape first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from fathom_onnx.exporting import ExportRequest, Gap, StepResult
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.recipes.batch import tensors
from fathom_onnx.workloads.contract import GradientDescent, Initialiser, Layer, Noise, TensorSpec, Variable
from support.graphs.small_models import FLOAT, model, op

NAME = "fakenet"


class Tensor:
    """What a framework's tensors have in common, and a name for the device that they have to be taken from."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values, np.float32)
        self.shape, self.dtype = self._values.shape, self._values.dtype

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        return self._values


class Line:
    """``y = w x``; ``fake`` is a model without weights, ``lacking`` one with an operation that has no translation."""

    def __init__(self, w: float = 2.0, *, fake: bool = False, noisy: bool = False, lacking: int = 0) -> None:
        self.w, self.fake, self.noisy, self.lacking = w, fake, noisy, lacking


class Curve(Line):
    """Another class."""


Line.__module__ = f"{NAME}.layers"


@dataclass(frozen=True)
class Config:
    """What a recipe's configuration says."""

    model: str


class Descent:
    """The optimizer."""

    def __init__(self, rate: float = 0.125) -> None:
        self.rate = rate


def batch(count: int = 2) -> tuple[Tensor, Tensor]:
    """x = 1, 2, ... and y = 0."""
    return Tensor(np.arange(1, count + 1)), Tensor(np.zeros(count))


class Exporter:
    """The exporter of the framework."""

    framework = NAME

    def version(self) -> str:
        return "1.0"

    def workloads(self) -> tuple[str, ...]:
        return ()

    def workload(self, recipe: Recipe, target: str = "") -> RecipeWorkload:
        found = tensors(recipe.batch)
        example = {name: leaf.numpy() for name, leaf in zip("xy", found.values(), strict=True)}
        x, y = (TensorSpec(name, value.shape) for name, value in example.items())
        drawn = (Noise("noise", x.shape, "uniform"),) if recipe.model.noisy else ()
        return RecipeWorkload(
            name="unnamed",
            preset="own",
            config=Config(type(recipe.model).__name__),
            features=(x,),
            targets=(y,),
            outputs=(TensorSpec("output", x.shape),),
            layers=(Layer("line", "line"),),
            parameters=(Variable("line.w", (), Initialiser.stored()),),
            optimizer=GradientDescent(getattr(recipe.optimizer, "rate", 0.0)),
            noise={"training": drawn},
            data="example",
            recipe=recipe,
            framework=NAME,
            stored={} if recipe.model.fake else {"line.w": np.array(recipe.model.w, np.float32)},
            example={} if recipe.model.fake else example,
            target=target,
        )

    def gaps(self, recipe: Recipe, mode: str) -> tuple[Gap, ...]:
        gap = Gap("fake.twist", "forward", "line", "mine.py:3 twist(x)", "no translation", "write it as x", 2)
        return (gap,) * recipe.model.lacking

    def export(self, request: ExportRequest) -> onnx.ModelProto:
        workload = request.workload
        assert isinstance(workload, RecipeWorkload)
        if workload.recipe.model.lacking:
            raise RuntimeError("fake.twist")
        training, shape = request.mode == "training", workload.features[0].shape
        noisy = bool(workload.noise["training"]) and training
        given = noisy and request.noise == "input"
        nodes = [op("Mul", "line.w v", "output", "forward/line/Mul")]
        if given:
            nodes.insert(0, op("Mul", "x noise", "v", "forward/line/Mul_1"))
        elif noisy:
            random = op("RandomUniformLike", "x", "noise", "forward/line/RandomUniform")
            nodes[:0] = [random, op("Mul", "x noise", "v", "forward/line/Mul_1")]
        else:
            nodes.insert(0, op("Identity", "x", "v", "forward/line/Identity"))
        inputs: dict[str, Any] = {"x": (FLOAT, shape)}
        outputs: dict[str, Any] = {"output": (FLOAT, shape)}
        if training:
            nodes += [
                op("Sub", "output y", "d", "loss/loss/Sub"),
                op("Mul", "d d", "dd", "loss/loss/Mul"),
                op("ReduceSum", "dd", "loss", "loss/loss/Sum", keepdims=0),
                op("Mul", "d v", "dv", "backward/line/Mul"),
                op("ReduceSum", "dv", "g", "backward/line/Sum", keepdims=0),
                op("Mul", "g two", "gradient", "backward/line/Mul_1"),
                op("Mul", "gradient rate", "u", "optimizer/line.w/ApplyGradientDescent/Mul_1"),
                op("Sub", "line.w u", "line.w.next", "optimizer/line.w/ApplyGradientDescent/Sub_1"),
            ]
            inputs |= {"y": (FLOAT, shape)} | ({"noise": (FLOAT, shape)} if given else {})
            outputs = {"loss": (FLOAT, ()), "line.w.next": (FLOAT, ())}
        constants = {"two": np.float32(2), "rate": np.float32(workload.optimizer.learning_rate)} if training else {}
        made = model(nodes, {**inputs, "line.w": (FLOAT, ())}, outputs, constants)
        made.producer_name = "fathom-onnx"
        metadata = GraphMetadata.of(workload, request.mode, NAME, "1.0", request.noise, request.purpose)
        replace(metadata, gradients={"line.w": "gradient"} if training else {}).write(made)
        return made

    def reference(self, workload: RecipeWorkload, mode: str, dtype: str) -> Any:
        def step(values: Any) -> StepResult:
            v = values["x"].astype(dtype) * values.get("noise", 1)
            w = values["line.w"].astype(dtype)
            if mode == "inference":
                return StepResult({"output": w * v})
            d = w * v - values["y"]
            gradient = 2 * (d * v).sum()
            new = w - workload.optimizer.learning_rate * gradient
            return StepResult({"loss": (d * d).sum(), "line.w.next": new}, {"line.w": gradient})

        def update(values: Any, gradients: Any) -> dict[str, Any]:
            return {"line.w.next": values["line.w"] - workload.optimizer.learning_rate * gradients["line.w"]}

        return SimpleNamespace(step=step, update=update)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the entry points name the framework, its models and its exporter, and no other."""
    value = f"{NAME}:Exporter"
    dist = SimpleNamespace(name="fathom-onnx")
    point = SimpleNamespace(name=NAME, value=value, module=__name__, dist=dist, load=lambda: Exporter)
    groups = {"fathom_onnx.exporters": [point], "fathom_onnx.recipes": [point]}
    for place in ("fathom_onnx.plugins", "fathom_onnx.recipes.frameworks", "fathom_onnx.study.engine.sources"):
        monkeypatch.setattr(f"{place}.entry_points", lambda group: groups.get(group, []))
