"""Gradients that come as rows, and layers that assign to parameters: what the optimizer makes of them as Keras does."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402
from keras import optimizers as O  # noqa: E402

from fathom_exporters.tensorflow.recipes import RecipeReference  # noqa: E402
from fathom_onnx.exporting import ExportRequest  # noqa: E402
from fathom_onnx.graph import GraphMetadata  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from fathom_onnx.verification import verify  # noqa: E402
from support.graphs.keras_recipes import EXPORTER, eager_step, largest_error, step_of  # noqa: E402

pytestmark = pytest.mark.slow
MSE = keras.losses.MeanSquaredError()
IDS = np.array([[1, 1, 2], [1, 4, 2]], "int32")
"""Rows 1 and 2 come more than once."""


def of_table():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((3,), dtype="int32"), L.Embedding(6, 2), L.Flatten(), L.Dense(2)])
    return model, (IDS, np.array([[1, 2], [0, -1]], "float32"))


OPTIMIZERS = {
    "sgd": lambda: O.SGD(0.1),
    "clipped": lambda: O.SGD(0.1, clipnorm=0.05),
    "adam": lambda: O.Adam(0.1),
    "rmsprop": lambda: O.RMSprop(0.1),
    "adagrad": lambda: O.Adagrad(0.1),
    "adadelta": lambda: O.Adadelta(1.0),
    "lion": lambda: O.Lion(0.1),
    "adafactor": lambda: O.Adafactor(0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_that_come_twice_are_taken_as_the_optimizer_takes_them(name):
    model, batch = of_table()
    workload, _, got = step_of(model, batch, MSE, OPTIMIZERS[name]())
    eager_step(model, batch, MSE, OPTIMIZERS[name](), model.trainable_variables)
    for parameter, variable in zip(workload.parameters, model.trainable_variables, strict=True):
        assert largest_error(got[parameter.next.name], variable) < 1e-5


def test_the_second_moment_of_a_row_that_comes_twice_is_a_sum_of_squares():
    """With y = e_a + e_b and the loss y^2 each row's gradient is 2 y: a row that comes twice adds (2 y)^2 twice."""
    model = keras.Sequential([L.Input((2,), dtype="int32"), L.Embedding(3, 1), L.Lambda(lambda x: tf.reduce_sum(x, 1))])
    model.layers[0].set_weights([np.array([[1.0], [2.0], [3.0]], "float32")])
    batch = (np.array([[1, 1]], "int32"), np.zeros((1, 1), "float32"))
    _, _, got = step_of(model, batch, MSE, O.Adam(0.1, beta_2=0.5))
    gradient = 2 * (2.0 + 2.0)
    assert got["embedding.embeddings.velocity.next"].ravel() == pytest.approx([0, 0.5 * 2 * gradient**2, 0])
    assert got["embedding.embeddings.momentum.next"].ravel() == pytest.approx([0, 0.1 * 2 * gradient, 0])


@pytest.mark.parametrize("name", ["adam", "lion", "adadelta"])
def test_steps_with_rows_verify(name):
    model, batch = of_table()
    workload = EXPORTER.workload(Recipe(model, batch, MSE, OPTIMIZERS[name]()))
    check = verify(workload, "tensorflow", "training", steps=2)
    assert check.passed, check.faults
    gradients = GraphMetadata.read(EXPORTER.export(ExportRequest(workload, "training"))).gradients
    assert ("embedding.embeddings" in gradients) == (name == "adam")  # the others have no tensor of the rows' sums


def test_an_update_is_of_the_rows_whose_sum_is_given():
    model, batch = of_table()
    workload, values, _ = step_of(model, batch, MSE, O.Adam(0.1))
    reference = RecipeReference(workload, "training", "float64")
    made = reference.step(values)
    again = reference.update(values, made.gradients)
    name = "embedding.embeddings.velocity.next"
    assert largest_error(again[name], made.outputs[name]) < 1e-12
    wrong = {name: 1.001 * gradient for name, gradient in made.gradients.items()}
    assert largest_error(reference.update(values, wrong)[name], made.outputs[name]) > 1e-4


def test_a_layer_that_assigns_to_its_kernel():
    """A spectral normalisation divides its kernel in the forward pass; the update starts from that."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((4,)), L.SpectralNormalization(L.Dense(3)), L.Dense(2)])
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(5, 4)).astype("float32"), rng.normal(size=(5, 2)).astype("float32"))
    workload = EXPORTER.workload(Recipe(model, batch, MSE, O.Adam(0.01)))
    check = verify(workload, "tensorflow", "training", steps=2)
    assert check.passed, check.faults
