"""What the loss of a Keras step is: as ``fit`` takes losses, functions, sample weights and what layers add."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402

from fathom_exporters.tensorflow.recipes import RecipeReference  # noqa: E402
from fathom_onnx.errors import UsageError  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from support.graphs.keras_recipes import EXPORTER, largest_error, step_of  # noqa: E402

pytestmark = pytest.mark.slow

X = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], "float32")
Y = np.array([[1.0], [0.0], [2.0]], "float32")
WEIGHTS = np.array([1.0, 0.0, 3.0], "float32")


def line(layer=None):
    """y = x1 + 2 x2 + 0.5."""
    model = keras.Sequential([L.Input((2,)), L.Dense(1), *([layer] if layer else [])])
    model.layers[0].set_weights([np.array([[1.0], [2.0]], "float32"), np.array([0.5], "float32")])
    return model


ERRORS = X @ np.array([1.0, 2.0]) + 0.5 - Y[:, 0]


def squares(targets, outputs):
    return (targets - outputs) ** 2


def own_weights(targets, outputs, weights):
    return tf.reduce_sum(weights[:, None] * tf.abs(targets - outputs))


def test_a_function_that_takes_no_weights_is_weighted_as_fit_does():
    model = line()
    _, _, got = step_of(model, (X, Y, WEIGHTS), squares, keras.optimizers.SGD(0.1))
    assert got["loss"] == pytest.approx((ERRORS**2 * WEIGHTS).sum() / 3, rel=1e-6)
    model.compile(keras.optimizers.SGD(0.1), squares)
    assert float(model.train_on_batch(X, Y, WEIGHTS)) == pytest.approx(float(got["loss"]), rel=1e-6)
    assert largest_error(got["dense.kernel.next"], model.trainable_variables[0]) < 1e-6


def test_a_function_that_takes_weights_gets_them():
    _, _, got = step_of(line(), (X, Y, WEIGHTS), own_weights, keras.optimizers.SGD(0.1))
    assert got["loss"] == pytest.approx((np.abs(ERRORS) * WEIGHTS).sum(), rel=1e-6)


def test_a_function_of_each_sample_is_averaged():
    _, _, got = step_of(line(), (X, Y), squares, keras.optimizers.SGD(0.1))
    assert got["loss"] == pytest.approx((ERRORS**2).mean(), rel=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_loss_that_does_not_reduce_is_refused(compiled):
    loss, model, optimizer = keras.losses.MeanSquaredError(reduction="none"), line(), keras.optimizers.SGD(0.1)
    if compiled:
        model.compile(optimizer, loss)
    recipe = Recipe(model, (X, Y)) if compiled else Recipe(model, (X, Y), loss, optimizer)
    with pytest.raises(UsageError, match="3 numbers, as with reduction='none'; give it reduction='sum'"):
        EXPORTER.workload(recipe)
    _, _, got = step_of(line(), (X, Y), keras.losses.MeanSquaredError(reduction="sum"), keras.optimizers.SGD(0.1))
    assert got["loss"] == pytest.approx((ERRORS**2).sum(), rel=1e-6)


class Adding(L.Layer):
    """Adds a term of several numbers to the loss, which Keras adds up."""

    def call(self, x):
        self.add_loss(0.25 * x[:, 0])
        return x


def test_terms_that_layers_add_are_summed():
    _, _, got = step_of(line(Adding()), (X, Y), squares, keras.optimizers.SGD(0.1))
    assert got["loss"] == pytest.approx((ERRORS**2).mean() + 0.25 * (ERRORS + Y[:, 0]).sum(), rel=1e-6)
    model = line(Adding())
    model.compile(keras.optimizers.SGD(0.1), "mse")
    assert float(model.train_on_batch(X, Y)) == pytest.approx(float(got["loss"]), rel=1e-6)


class _Private(keras.Model):
    """A class whose name starts with what no scope of TensorFlow starts with."""

    def __init__(self):
        super().__init__()
        self.out = L.Dense(1)

    def call(self, x):
        return self.out(x)


def test_a_model_of_a_private_class():
    workload, values, got = step_of(_Private(), (X, Y), "mse", keras.optimizers.SGD(0.1))
    want = RecipeReference(workload, "training", "float64").step(values).outputs
    assert all(largest_error(got[name], value) < 1e-6 for name, value in want.items())
