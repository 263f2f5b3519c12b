"""Constants remember the numbers that were rounded, and a graph's metadata say those that its file does not."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from fathom_exporters.lowering.cleanup.folding import FoldConstants
from fathom_exporters.lowering.rounding import narrow_constants, rounded, rounded_numbers, single_numbers
from fathom_onnx.exporting import ExportRequest, find_exporter, read_recipe
from fathom_onnx.graph import GraphMetadata, from_model
from fathom_onnx.recipes import Recipe
from fathom_onnx.verification import verify
from support.graphs.exports import FRAMEWORKS
from support.graphs.lowering import FLOAT, standard_model, tagged, value

SINGLE = np.dtype(np.float32)
PHI = (1 + math.sqrt(5)) / 2


def told(values, dtype=SINGLE) -> tuple[float, ...]:
    """What the metadata say of one constant."""
    tensor = rounded(np.asarray(values), dtype)
    constant = ir.Value(name="c", const_value=tensor)
    graph = ir.Graph([], [], nodes=[], initializers=[constant])
    return rounded_numbers(graph, {}).get("c", ())


@pytest.mark.parametrize("number", [PHI, -PHI, 1 / 3, 0.1 + 1e-12, 0.123456789, math.log(2 * math.pi) / 2])
def test_numbers_that_a_decimal_of_float32_is_not(number) -> None:
    assert told(number) == (number,)
    assert told([number, number]) == (number,)
    # among others, simple decimals are told too: a reading takes them as they are
    assert told([1.0, number, number, 0.1]) == tuple(sorted([number, 0.1]))


@pytest.mark.parametrize(
    "number", [0.1, 1 - 0.9, 1e-8, 0.999, 3.0, 0.5, float(np.float32(0.1)), math.inf, math.nan, 1e300]
)
def test_numbers_that_need_no_telling(number) -> None:
    assert told(number) == ()


def test_simple_decimals_of_several_numbers_are_told() -> None:
    assert told([0.001, 0.001]) == ()
    assert told([0.001, 0.25]) == (0.001,)


def test_other_types_and_long_tables_are_as_they_are() -> None:
    assert told(PHI, np.dtype(np.float64)) == ()
    assert told(3) == ()
    assert told(np.array(PHI, np.float32)) == ()
    assert len(told(np.sqrt(np.arange(2, 200) + 0.3))) > 150
    assert told(np.sqrt(np.arange(1000) + 0.3)) == ()


def test_a_folded_number_is_known_by_its_value() -> None:
    x = value("x", np.zeros(3))
    tag = ("forward", "fc", "Mul")
    constant = ir.node("Constant", [], {"value": rounded(np.array(PHI), SINGLE)})
    number = constant.outputs[0]
    number.name, number.type, number.shape = "c", FLOAT, ir.Shape(())
    shape = ir.Value(name="s", const_value=ir.tensor(np.array([3])), type=ir.TensorType(ir.DataType.INT64))
    spread = tagged("Expand", [number, shape], tag, (3,))
    product = tagged("Mul", [x, spread.outputs[0]], tag, (3,))
    model = standard_model([constant, spread, product], [x], [product.outputs[0]])
    model.graph.register_initializer(shape)
    single = single_numbers(model.graph)
    assert single == {float(np.float32(PHI)): PHI}
    FoldConstants()(model)
    assert [node.op_type for node in model.graph if node.op_type != "Constant"] == ["Mul"]
    assert set(rounded_numbers(model.graph, single).values()) == {(PHI,)}


def cast(source: ir.Value, to: ir.DataType, shape: tuple[int, ...]) -> ir.Node:
    node = tagged("Cast", [source], ("forward", "fc", "Cast"), shape)
    node.attributes["to"] = ir.AttrInt64("to", to)
    node.outputs[0].type = ir.TensorType(to)
    return node


@pytest.mark.parametrize(
    ("on_the_way", "expected"),
    [
        ([], (1 / 3, PHI)),
        ([ir.DataType.DOUBLE], (1 / 3, PHI)),
        ([ir.DataType.INT64], None),  # numbers are cut
        ([ir.DataType.FLOAT], None),  # rounded already
    ],
)
def test_a_constant_of_float64_that_is_cast_is_remembered(on_the_way, expected) -> None:
    numbers = np.array([PHI, 1 / 3, 0.5])
    constant = ir.node("Constant", [], {"value": ir.tensor(numbers)})
    constant.outputs[0].name = "c"
    nodes, last = [constant], constant.outputs[0]
    for to in [*on_the_way, ir.DataType.FLOAT]:
        nodes.append(cast(last, to, (3,)))
        last = nodes[-1].outputs[0]
    x = value("x", np.zeros(3))
    nodes.append(tagged("Mul", [x, last], ("forward", "fc", "Mul"), (3,)))
    model = standard_model(nodes, [x], [nodes[-1].outputs[0]])
    narrow_constants(model.graph)
    producer = nodes[-1].inputs[1].producer()
    if expected is None:
        assert producer.op_type == "Cast"
        return
    assert producer.op_type == "Constant"
    np.testing.assert_array_equal(producer.attributes["value"].as_tensor().numpy(), numbers.astype(np.float32))
    assert rounded_numbers(model.graph, {})[producer.outputs[0].name] == expected


@pytest.mark.parametrize(("numbers", "left"), [([PHI, 0.5], ["Cos"]), ([0.25, 0.5], [])])
def test_what_is_made_of_several_rounded_numbers_is_not_folded(numbers, left) -> None:
    """A reading in float64 makes it of the numbers that they were; folded, it would be of those in float32."""
    constant = ir.node("Constant", [], {"value": rounded(np.array(numbers), SINGLE)})
    angles = constant.outputs[0]
    angles.name, angles.type, angles.shape = "c", FLOAT, ir.Shape((2,))
    x = value("x", np.zeros(2))
    cosine = tagged("Cos", [angles], ("forward", "fc", "Sin"), (2,))
    product = tagged("Mul", [x, cosine.outputs[0]], ("forward", "fc", "Mul"), (2,))
    model = standard_model([constant, cosine, product], [x], [product.outputs[0]])
    FoldConstants()(model)
    assert [node.op_type for node in model.graph if node.op_type != "Constant"] == [*left, "Mul"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("name", "frequency"),
    [
        ("llama", 500_000**-0.5),
        ("llama-decode", 500_000**-0.5),
        ("mixtral", 0.001),
        ("unet", 10_000 ** (-1 / 3)),
    ],
)
def test_the_frequencies_of_the_workloads_are_told(tiny, framework, name, frequency) -> None:
    told = tiny(name, framework, "inference").metadata.rounded
    assert min(abs(number / frequency - 1) for numbers in told.values() for number in numbers) < 1e-14


class Numbers(nn.Module):
    """Numbers of a model that are no simple ones: of Python, of a mean, of an activation's gradient, of a border."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.gelu(self.layer(x) * PHI)
        y = nn.functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
        return torch.where(y > 0, y, torch.full_like(y, 1 / PHI)).clamp(max=math.e) ** 2


@pytest.mark.parametrize("kept", [True, False])
def test_a_reading_in_float64_has_the_numbers_of_the_model(kept) -> None:
    torch.manual_seed(0)
    model = Numbers()
    batch = (torch.randn(2, 1, 6, 6),)
    recipe = Recipe(
        model, batch, lambda y, _: y.mean(), torch.optim.Adam(model.parameters(), 1e-2, betas=(0.87, PHI / 2))
    )
    workload = read_recipe(recipe)
    exported = find_exporter("torch").export(ExportRequest(workload, "training", "input"))
    metadata = GraphMetadata.read(exported)
    assert metadata is not None
    assert {PHI, 1 / PHI, math.e} <= {number for numbers in metadata.rounded.values() for number in numbers}
    if not kept:
        metadata.rounded.clear()
        metadata.write(exported)
    check = verify(workload, "torch", "training", steps=1, graph=from_model(exported, workload.name))
    assert check.passed
    assert (check.in_double < 1e-14) == kept
