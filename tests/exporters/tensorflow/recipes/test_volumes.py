"""Max pools of volumes in float64, which the judge of a step needs and TensorFlow does not have."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")

from tensorflow.python.eager import context  # noqa: E402

from fathom_exporters.tensorflow.recipes.graph.widening import widen  # noqa: E402
from fathom_onnx.exporting import read_recipe  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from fathom_onnx.verification import verify  # noqa: E402

pytestmark = pytest.mark.slow
NEAR = 1.0 + 2.0**-30
"""More than 1, and 1 in float32."""


def widened(function, x):
    """A function of float32, run in float64 on one tensor."""
    graph = function.get_concrete_function(tf.TensorSpec(x.shape, tf.float32)).graph
    wide, renamed = widen(graph.as_graph_def())
    for definition in wide.library.function:
        context.context().add_function_def(definition)
    names = [renamed.get(t.name, t.name) for t in graph.outputs]

    @tf.function(autograph=False)
    def run(value):
        return tf.import_graph_def(wide, {graph.inputs[0].name: value}, names, name="")

    return [np.asarray(t) for t in run(tf.constant(x, tf.float64))]


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize(("kernel", "strides"), [([2, 2, 2], [2, 2, 2]), ([3, 1, 2], [1, 2, 2])])
def test_pools_are_tensorflows(padding, kernel, strides) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (2, 5, 4, 6, 3)).astype(np.float32)  # many windows have two largest elements

    @tf.function(autograph=False)
    def step(value):
        y = tf.nn.max_pool3d(value, kernel, strides, padding)
        return y, tf.gradients(y * y, value)[0]

    expected = [np.asarray(t) for t in step(tf.constant(x))]
    for made, right in zip(widened(step, x), expected, strict=True):
        assert made.dtype == np.float64
        np.testing.assert_array_equal(made, right)


def test_elements_that_are_equal_in_float32_are_told_apart() -> None:
    x = np.ones((1, 2, 2, 2, 1))
    x[0, 1, 1, 0, 0] = NEAR

    @tf.function(autograph=False)
    def step(value):
        return (tf.gradients(tf.nn.max_pool3d(value, 2, 2, "VALID"), value)[0],)

    (found,) = widened(step, x)
    assert found.sum() == found[0, 1, 1, 0, 0] == 1.0


def test_a_tie_in_float32_is_no_fault() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2, 2, 2, 1)),
            keras.layers.Rescaling(1.0),
            keras.layers.Conv3D(1, 1),
            keras.layers.MaxPooling3D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    convolution, dense = model.layers[1], model.layers[4]
    convolution.set_weights([np.full((1, 1, 1, 1, 1), 1 + 2.0**-12, np.float32), np.full(1, 2.0, np.float32)])
    x = np.ones((1, 2, 2, 2, 1), np.float32)
    x[0, 1, 0, 1, 0] = 1 + 2.0**-23  # the products differ by less than a rounding of 3
    dense.set_weights([np.ones((1, 2), np.float32), np.zeros(2, np.float32)])
    recipe = Recipe(
        model, (x, np.zeros((1, 2), np.float32)), keras.losses.MeanSquaredError(), keras.optimizers.SGD(0.01)
    )
    workload = read_recipe(recipe)
    assert verify(workload, "tensorflow", "training", steps=1).faults == ()
