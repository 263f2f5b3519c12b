"""Marks: the lowering's gradients are JAX's own derivatives, and a graph without marks has those written out.

JAX derives what the lowering tabulates. The numbers that a graph with marks is held against are those of ``jax.vjp``
of the function behind the mark, in float64.
"""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("onnxruntime")

import jax.numpy as jnp  # noqa: E402

from fathom_exporters.jax import marks  # noqa: E402
from fathom_exporters.jax.translate import translate  # noqa: E402
from fathom_exporters.lowering import CANONICAL, DOMAIN  # noqa: E402
from support.graphs.of_functions.jax import captured_function, check_function  # noqa: E402

RNG = np.random.default_rng(1)
X = RNG.normal(size=(4, 5)).astype("float32") * 3
IMAGE = RNG.normal(size=(3, 4, 5, 2)).astype("float32")
SCALE, BIAS = (RNG.normal(size=4).astype("float32") for _ in range(2))
LABELS = np.eye(5, dtype="float32")[[1, 0, 4, 2]]

MARKED = {
    "ReluGrad": (marks.relu, X),
    "ClipGrad": (lambda x: marks.clip(x, -0.5, 2), X),
    "SigmoidGrad": (marks.sigmoid, X),
    "TanhGrad": (marks.tanh, X),
    "SoftplusGrad": (marks.softplus, X),
    "SoftmaxGrad": (lambda x: marks.softmax(x, 1), X),
    "LogSoftmaxGrad": (lambda x: marks.log_softmax(x, 0), X),
    "CrossEntropy": (lambda x: marks.cross_entropy(x, jnp.asarray(LABELS, x.dtype)), X),
    "BatchNormGrad": (lambda x, s, b: marks.batch_norm_training(x, s, b, 1e-3), IMAGE, SCALE, BIAS),
    "LRNGrad": (lambda x: marks.local_response_norm(x, 3, 2.0, 0.5, 0.75), IMAGE),
}
"""Canonical gradient op to the function that has it, and its arguments."""


def without_statistics(function):
    """The first result alone: the statistics of a batch have no gradient."""

    def call(*arguments):
        made = function(*arguments)
        return made[0] if isinstance(made, tuple) else made

    return call


@pytest.mark.parametrize("op", MARKED)
def test_a_marked_gradient_is_the_derivative_of_jax(op):
    function, *values = MARKED[op]
    model = check_function(without_statistics(function), *values)
    assert {node.name.split("/")[2] for node in model.graph.node} >= {op}


@pytest.mark.parametrize("op", MARKED)
def test_without_marks_the_derivative_of_jax_is_written_out(op):
    function, *values = MARKED[op]
    model = check_function(without_statistics(function), *values, purposes=("simulators",), marks=False)
    assert op not in {node.name.split("/")[2] for node in model.graph.node}


def test_the_derivatives_at_the_corners():
    """0 at 0 and at both bounds, where ``jnp.maximum`` and ``jnp.clip`` have a half."""
    corners = np.array([-1, 0, 2, 3], "float32")
    for function in (marks.relu, lambda x: marks.clip(x, 0, 2)):
        slope = jax.grad(lambda x, f=function: f(x).sum())(jnp.asarray(corners))
        np.testing.assert_array_equal(slope[:2], 0)
        model = check_function(function, corners)
        assert model is not None
    np.testing.assert_array_equal(jax.grad(lambda x: marks.clip(x, 0, 2).sum())(jnp.asarray(corners)), 0)


def test_every_canonical_gradient_that_needs_a_name_is_marked():
    """The others are told by their primitives: convolutions, pools, gathers, slices."""
    told = {"Conv2DBackFilter", "Conv2DBackInput", "MaxPoolGrad", "GatherGrad", "SliceGrad"}
    of_later_models = {"GeluGrad", "SiluGrad", "LayerNormGrad", "GroupNormGrad", "ScatterAdd"}
    assert set(MARKED) | {"BatchNormTraining"} == set(CANONICAL) - told - of_later_models


def test_the_gradient_reads_the_output_of_the_forward_pass():
    model, _ = translate(captured_function(marks.tanh, [X]))
    assert [node.op_type for node in model.graph].count("Tanh") == 1
    (gradient,) = [node for node in model.graph if node.domain == DOMAIN]
    assert gradient.inputs[1].producer().op_type == "Tanh"


def test_marks_in_a_loop():
    def unrolled(x):
        return jax.lax.scan(lambda c, row: (marks.tanh(c + row), marks.softmax(c)), x[0], x)

    model = check_function(unrolled, X, purposes=("simulators",))
    assert "TanhGrad" in {node.name.split("/")[2] for node in model.graph.node}


def test_attributes_are_read_from_the_name():
    assert marks.read_mark("fathom.ClipGrad min=0.0 max=20.0") == ("ClipGrad", {"min": 0.0, "max": 20.0})
    assert marks.read_mark("relu") is None


def test_random_numbers_are_those_of_jax_where_it_runs():
    key = jax.random.PRNGKey(3)
    drawn = marks.random_normal(key, (2, 3), stream=4)
    np.testing.assert_array_equal(drawn, jax.random.normal(jax.random.fold_in(key, 4), (2, 3)))
    assert not np.array_equal(drawn, marks.random_normal(key, (2, 3), stream=5))
    assert float(marks.random_uniform(key, (100,)).min()) >= 0
