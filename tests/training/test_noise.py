"""Draws taken out of a graph: their distributions, and what stays inside."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from fathom_onnx.graph import from_model
from fathom_onnx.training.noise import NoiseInput, take_noise_out
from support.graphs.small_models import FLOAT, model, op


@pytest.mark.parametrize(
    ("op_type", "first", "second", "mean", "deviation"),
    [("RandomNormal", 2.0, 3.0, 2.0, 3.0), ("RandomUniform", -1.0, 3.0, 1.0, 4 / 12**0.5)],
)
def test_values_have_the_distribution_of_the_node(op_type, first, second, mean, deviation) -> None:
    noise = NoiseInput("n", op_type, (200, 500), "float32", first, second)
    drawn = noise.sampler(0)(1)
    assert (drawn.dtype, drawn.shape) == (np.float32, (200, 500))
    assert drawn.mean() == pytest.approx(mean, abs=5 * deviation / 100_000**0.5)
    assert drawn.std() == pytest.approx(deviation, rel=0.02)
    assert (drawn == noise.sampler(0)(1)).all()
    for other in (
        noise.sampler(0)(2),
        noise.sampler(1)(1),
        NoiseInput("m", *list(vars(noise).values())[1:]).sampler(0)(1),
    ):
        assert abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 0.02


def test_a_draw_becomes_an_input_of_its_shape_and_type() -> None:
    nodes = [
        op("RandomUniform", "", "half", "draw", shape=[2, 3], low=-1.0, dtype=onnx.TensorProto.FLOAT16),
        op("Cast", "half", "wide", "cast", to=FLOAT),
        op("Add", "x wide", "y", "add"),
    ]
    for node in nodes[:1]:
        del node.input[:]
    graph = from_model(model(nodes, {"x": (FLOAT, (2, 3))}, {"y": (FLOAT, (2, 3))}, {}), "drawn")
    given, noise, left = take_noise_out(graph)
    assert noise == (NoiseInput("half", "RandomUniform", (2, 3), "float16", -1.0, 1.0),)
    assert [(t.name, t.shape, t.dtype) for t in given.inputs][1:] == [("half", (2, 3), "float16")]
    assert [n.op_type for n in given.model.graph.node] == ["Cast", "Add"]
    assert left == ()
    assert noise[0].sampler(0)(0).dtype == np.float16


def test_what_cannot_be_fed_stays_and_is_named() -> None:
    nodes = [op("RandomNormalLike", "x", "n", "like"), op("Add", "x n", "y", "add")]
    graph = from_model(model(nodes, {"x": (FLOAT, (2,))}, {"y": (FLOAT, (2,))}, {}), "like")
    given, noise, left = take_noise_out(graph)
    assert given is graph
    assert (noise, left) == ((), ("like",))


@pytest.mark.parametrize("shape", [(1000, 100), (30,), (3, 2), ()])
def test_values_of_a_step_do_not_depend_on_which_steps_were_drawn_before(shape: tuple[int, ...]) -> None:
    """Those of several steps are drawn at once: 1, 64 and 64 of these shapes."""
    noise = NoiseInput("n", "RandomNormal", shape, "float32", 1.0, 2.0)
    in_order = noise.sampler(3)
    found = [in_order(step) for step in range(1, 70)]
    again = noise.sampler(3)
    for step in (69, 63, 64, 65, 1, 69, 2):
        assert again(step).shape == shape
        assert again(step).tobytes() == found[step - 1].tobytes()
        assert again(step).flags.c_contiguous
    assert len({value.tobytes() for value in found}) == len(found)
