"""Adam's corrections in scalars, against the algorithm as the paper prints it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.cleanup import CLEANUP
from fathom_exporters.lowering.fast.optimizer import FoldMomentCorrections
from fathom_exporters.lowering.infer import InferShapes
from support.graphs.lowering import FLOAT, close, run, standard_model, value

RATE, EPSILON = 0.01, 1e-3
RNG = np.random.default_rng(0)
VALUES = {
    "p": RNG.normal(size=(3, 5)),
    "m": RNG.normal(size=(3, 5)),
    "v": RNG.random(size=(3, 5)) * 1e-4,
    "c1": np.array(0.19),
    "c2": np.array(0.002),
}
"""Moments, new; the corrections are those of some early step."""


def adams() -> np.ndarray:
    """Kingma and Ba (2015), algorithm 1, in float64."""
    corrected = VALUES["m"] / VALUES["c1"], VALUES["v"] / VALUES["c2"]
    return VALUES["p"] - RATE * corrected[0] / (np.sqrt(corrected[1]) + EPSILON)


def model(form: str, phase: str = "optimizer", epsilon: float = EPSILON, also: str = "") -> ir.Model:
    """An update as PyTorch's (``root over s``) or TensorFlow's record has it; ``also`` is one more output."""
    inputs = {name: value(name, array) for name, array in VALUES.items()}
    p, m, v, c1, c2 = inputs.values()
    graph = ir.Graph(list(inputs.values()), [], nodes=[], opset_imports={"": 18}, name="g")
    b = Builder(graph)
    b.begin(Tag(phase, "layer.weight", "ApplyAdam", "update"))
    made: dict[str, ir.Value] = {}
    e, rate = b.constant(np.array(epsilon, np.float32)), b.constant(np.array(RATE, np.float32))
    if form == "root over s":
        made["s"] = b.op("Pow", c2, b.constant(np.array(0.5, np.float32)))
        made["root"] = b.op("Sqrt", v)
        made["spread"] = b.op("Div", made["root"], made["s"])
        made["quotient"] = b.op("Div", m, b.op("Add", made["spread"], e))
        new = b.op("Add", p, b.op("Mul", made["quotient"], b.op("Neg", b.op("Div", rate, c1))))
    else:
        made["spread"] = b.op("Div", v, c2)
        made["root"] = b.op("Sqrt", made["spread"])
        made["quotient"] = b.op("Div", b.op("Div", m, c1), b.op("Add", e, made["root"]))
        new = b.op("Sub", p, b.op("Mul", rate, made["quotient"]))
    for one in [new, *([made[also]] if also else [])]:
        one.type, one.shape = FLOAT, ir.Shape((3, 5))
        graph.outputs.append(one)
    graph.extend(b.nodes)
    found = ir.Model(graph, ir_version=10)
    for step in (InferShapes(), *CLEANUP):
        step(found)
    return found


def passes(found: ir.Model) -> int:
    """Nodes over whole parameters."""
    return sum(node.outputs[0].shape == ir.Shape((3, 5)) for node in found.graph)


@pytest.mark.parametrize(("form", "before"), [("root over s", 6), ("paper", 7)])
def test_corrections_are_scalars(form: str, before: int) -> None:
    found = model(form)
    assert passes(found) == before
    assert FoldMomentCorrections()(found).modified
    for step in (RemoveUnusedNodesPass(), TopologicalSortPass()):
        step(found)
    assert passes(found) == 5
    close(run(found, VALUES)[0], adams(), 1e-7)
    scalars = [node for node in found.graph if node.metadata_props["fathom.scope"] == "step"]
    assert len(scalars) == {"root over s": 2, "paper": 4}[form]


@pytest.mark.parametrize("form", ["root over s", "paper"])
def test_a_first_step_without_a_gradient_moves_nothing(form: str) -> None:
    found = model(form)
    FoldMomentCorrections()(found)
    TopologicalSortPass()(found)
    still = VALUES | {"m": np.zeros((3, 5)), "v": np.zeros((3, 5))}
    np.testing.assert_array_equal(run(found, still)[0], VALUES["p"].astype(np.float32))


@pytest.mark.parametrize("form", ["root over s", "paper"])
@pytest.mark.parametrize("other", [{"phase": "backward"}, {"epsilon": 1e-37}, {"also": "quotient"}, {"also": "spread"}])
def test_what_is_read_elsewhere_or_is_no_update_stays(form: str, other) -> None:
    found = model(form, **other)
    before = len(list(found.graph))
    assert not FoldMomentCorrections()(found).modified
    assert len(list(found.graph)) == before


def test_a_correction_for_each_element_stays() -> None:
    values = {name: value(name, VALUES["m"]) for name in "pmvc"}
    p, m, v, c = values.values()
    numbers = [ir.Value(name=n, type=FLOAT, shape=ir.Shape([])) for n in ("e", "a")]
    root = ir.node("Sqrt", [v])
    spread = ir.node("Div", [root.outputs[0], c])
    added = ir.node("Add", [spread.outputs[0], numbers[0]])
    quotient = ir.node("Div", [m, added.outputs[0]])
    scaled = ir.node("Mul", [quotient.outputs[0], numbers[1]])
    new = ir.node("Add", [p, scaled.outputs[0]])
    nodes = [root, spread, added, quotient, scaled, new]
    for node in nodes:
        Tag("optimizer", "layer.weight", "ApplyAdam", "update").put(node)
    found = standard_model(nodes, [*values.values(), *numbers], [new.outputs[0]])
    numbers[0].const_value = ir.tensor(np.array(EPSILON, np.float32))
    assert not FoldMomentCorrections()(found).modified
