"""Scalars that are merged in updates, and scaled gradients in second moments, against the algorithms as printed."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.fast.factors import MergeFactors, ScaleGradients
from fathom_exporters.lowering.rounding import rounded_numbers
from support.graphs.lowering import FLOAT, close, run, value

RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.999, 1e-3
RNG = np.random.default_rng(0)
VALUES = {
    "p": RNG.normal(size=(3, 5)),
    "m": RNG.normal(size=(3, 5)),
    "v": RNG.random(size=(3, 5)),
    "x": RNG.normal(size=(7, 3)),
    "dy": RNG.normal(size=(7, 5)),
    "clip": np.array(0.25),
}
GRADIENT = VALUES["x"].T @ VALUES["dy"]


class Step:
    """A model whose nodes are made one after the other; all but the first product are of an update."""

    def __init__(self, phase: str = "optimizer") -> None:
        self.inputs = {name: value(name, array) for name, array in VALUES.items()}
        self.graph = ir.Graph(list(self.inputs.values()), [], nodes=[], opset_imports={"": 18}, name="g")
        self.b = Builder(self.graph)
        self.begin("backward", "MatMul")
        self.phase = phase

    def begin(self, phase: str, op: str) -> None:
        self.graph.extend(self.b.nodes)
        self.b.begin(Tag(phase, "layer.weight", op, op))

    def __getitem__(self, name: str) -> ir.Value:
        return self.inputs[name]

    def op(self, op_type: str, *operands: ir.Value | float, **attributes: object) -> ir.Value:
        given = [o if isinstance(o, ir.Value) else self.b.number(o, self["p"]) for o in operands]
        made = self.b.op(op_type, *given, **attributes)
        scalar = all(o.shape is not None and len(o.shape) == 0 for o in given)
        made.type, made.shape = FLOAT, ir.Shape(() if scalar else (3, 5))
        return made

    def gradient(self, clipped: bool = False) -> ir.Value:
        g = self.op("Gemm", self["x"], self["dy"], transA=1)
        self.begin(self.phase, "ApplyAdam")
        return self.op("Mul", g, self["clip"]) if clipped else g

    def model(self, *outputs: ir.Value) -> ir.Model:
        self.graph.extend(self.b.nodes)
        self.graph.outputs.extend(outputs)
        return ir.Model(self.graph, ir_version=10)


def torchs_adam(step: Step, g: ir.Value) -> list[ir.Value]:
    """Of ``lerp`` and ``addcmul``."""
    m = step.op("Add", step["m"], step.op("Mul", step.op("Sub", g, step["m"]), 1 - BETA1))
    v = step.op("Add", step.op("Mul", step["v"], BETA2), step.op("Mul", step.op("Mul", g, 1 - BETA2), g))
    return [m, v]


def tensorflows_adam(step: Step, g: ir.Value) -> list[ir.Value]:
    m = step.op("Add", step.op("Mul", BETA1, step["m"]), step.op("Mul", 1 - BETA1, g))
    v = step.op("Add", step.op("Mul", BETA2, step["v"]), step.op("Mul", 1 - BETA2, step.op("Mul", g, g)))
    return [m, v]


def adam(g: np.ndarray) -> list[np.ndarray]:
    return [BETA1 * VALUES["m"] + (1 - BETA1) * g, BETA2 * VALUES["v"] + (1 - BETA2) * g * g]


def torchs_rmsprop(step: Step, g: ir.Value) -> list[ir.Value]:
    v = step.op("Add", step.op("Mul", step["v"], BETA2), step.op("Mul", step.op("Mul", g, 1 - BETA2), g))
    root = step.op("Sqrt", step.op("Add", v, EPSILON))
    return [v, step.op("Add", step["p"], step.op("Div", step.op("Mul", g, -RATE), root))]


def tensorflows_rmsprop(step: Step, g: ir.Value) -> list[ir.Value]:
    v = step.op("Add", step.op("Mul", BETA2, step["v"]), step.op("Mul", 1 - BETA2, step.op("Mul", g, g)))
    root = step.op("Sqrt", step.op("Add", v, EPSILON))
    return [v, step.op("Sub", step["p"], step.op("Mul", RATE, step.op("Div", g, root)))]


def rmsprop(g: np.ndarray) -> list[np.ndarray]:
    v = BETA2 * VALUES["v"] + (1 - BETA2) * g * g
    return [v, VALUES["p"] - RATE * g / np.sqrt(v + EPSILON)]


RULES = {
    torchs_adam: (adam, 7, 6),
    tensorflows_adam: (adam, 7, 6),
    torchs_rmsprop: (rmsprop, 9, 8),
    tensorflows_rmsprop: (rmsprop, 9, 8),
}
"""What each record computes, the passes over memory after the gradient's product, and those that are left."""


def scaled(found: ir.Model) -> bool:
    modified = ScaleGradients()(found).modified
    for step in (RemoveUnusedNodesPass(), TopologicalSortPass()):
        step(found)
    return bool(modified)


def executed(found: ir.Model, path) -> list[onnx.NodeProto]:
    """The nodes that onnxruntime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(ir.to_proto(found).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(onnx.load(path).graph.node)


@pytest.mark.parametrize("record", RULES)
def test_to_scale_a_product_costs_no_pass(record, tmp_path) -> None:
    expected, before, after = RULES[record]
    step = Step()
    g = step.gradient()
    found = step.model(*record(step, g))
    assert len(executed(found, tmp_path / "before.onnx")) == before + 1
    assert scaled(found)
    nodes = executed(found, tmp_path / "after.onnx")
    assert len(nodes) == after + 1
    (fused,) = [node for node in nodes if node.op_type == "FusedMatMul"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in fused.attribute}
    assert attributes["transA"] == 1
    assert attributes["alpha"] == pytest.approx(math.sqrt(1 - BETA2))
    for new, exact in zip(run(found, VALUES), expected(GRADIENT), strict=True):
        close(new, exact, 3e-7)


@pytest.mark.parametrize("record", RULES)
def test_a_clipped_gradient_is_scaled_by_its_scalar(record) -> None:
    expected, _, after = RULES[record]
    step = Step()
    found = step.model(*record(step, step.gradient(clipped=True)))
    assert scaled(found)
    assert sum(len(node.outputs[0].shape or ()) > 0 for node in found.graph) == after + 2  # the product and its scale
    for new, exact in zip(run(found, VALUES), expected(0.25 * GRADIENT), strict=True):
        close(new, exact, 3e-7)


def test_the_gradient_is_there_still() -> None:
    step = Step()
    g = step.gradient()
    found = step.model(*torchs_adam(step, g), g)
    assert scaled(found)
    close(run(found, VALUES)[-1], GRADIENT, 3e-7)


def test_numbers_that_are_no_float32_are_remembered() -> None:
    step = Step()
    found = step.model(*torchs_adam(step, step.gradient()))
    scaled(found)
    numbers = sorted(number for of_one in rounded_numbers(found.graph, {}).values() for number in of_one)
    assert numbers == pytest.approx([math.sqrt(0.001), 0.1 / math.sqrt(0.001)], rel=1e-13)


@pytest.mark.parametrize("record", RULES)
def test_a_gradient_that_something_else_reads_stays(record) -> None:
    step = Step()
    g = step.gradient()
    found = step.model(*record(step, g), step.op("Abs", g))
    assert not scaled(found)


def test_no_second_moment_no_scale() -> None:
    step = Step()
    g = step.gradient()
    assert not scaled(step.model(step.op("Sub", step["p"], step.op("Mul", g, RATE))))


@pytest.mark.parametrize("number", [1e-31, 1.5, -0.1])
def test_a_factor_whose_root_is_of_no_use(number: float) -> None:
    step = Step()
    g = step.gradient()
    assert not scaled(step.model(step.op("Add", step["v"], step.op("Mul", number, step.op("Mul", g, g)))))


def test_a_factor_of_each_step_stays() -> None:
    step = Step()
    g = step.gradient()
    assert not scaled(step.model(step.op("Add", step["v"], step.op("Mul", step["clip"], step.op("Mul", g, g)))))


@pytest.mark.parametrize("record", RULES)
def test_other_phases_stay(record) -> None:
    step = Step(phase="backward")
    found = step.model(*record(step, step.gradient()))
    assert not scaled(found)
    assert not MergeFactors()(found).modified


def descent(step: Step, *scalars: ir.Value | float) -> ir.Value:
    change = step.gradient()
    for scalar in scalars:
        change = step.op("Mul", scalar, change)
    return step.op("Sub", step["p"], change)


@pytest.mark.parametrize(("constants", "nodes"), [((RATE, 3.0), 3), ((RATE, None), 4), ((None, RATE, 3.0), 5)])
def test_scalars_in_a_row_are_one(constants, nodes: int) -> None:
    step = Step()
    found = step.model(descent(step, *(step["clip"] if c is None else c for c in constants)))
    assert MergeFactors()(found).modified
    assert len(list(found.graph)) == nodes  # the product, scalars where one is of a step, Mul and Sub
    factor = math.prod(0.25 if c is None else c for c in constants)
    close(run(found, VALUES)[0], VALUES["p"] - factor * GRADIENT, 3e-7)
    assert not MergeFactors()(found).modified


def test_what_is_read_in_between_stays() -> None:
    step = Step()
    clipped = step.gradient(clipped=True)
    found = step.model(step.op("Sub", step["p"], step.op("Mul", clipped, RATE)), step.op("Abs", clipped))
    assert not MergeFactors()(found).modified


def test_a_factor_for_each_element_stays() -> None:
    step = Step()
    found = step.model(step.op("Mul", step.op("Mul", step.gradient(), step["v"]), RATE))
    assert not MergeFactors()(found).modified
