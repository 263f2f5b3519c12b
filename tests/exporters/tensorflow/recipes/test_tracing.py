"""What is traced is what the model does in training: it is told so by whatever argument it takes."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402

from support.graphs.keras_recipes import largest_error, step_of  # noqa: E402

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)


class Scaled(tf.Module):
    """Twice as large in training; each way to ask for it is a class below."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(RNG.normal(size=(8, 3)).astype("float32"))

    def scaled(self, x, training):
        return x @ self.w * (2.0 if training else 1.0)


class ByName(Scaled):
    def __call__(self, x, training=False):
        return self.scaled(x, training)


class ByKeyword(Scaled):
    def __call__(self, x, *, training=False):
        return self.scaled(x, training)


class AsInSonnet(Scaled):
    def __call__(self, x, is_training):
        return self.scaled(x, is_training)


class OfAnyArguments(Scaled):
    def __call__(self, *args, **more):
        return self.scaled(*args, **more)


class OfAFunction(Scaled):
    @tf.function
    def __call__(self, x, training=False):
        return self.scaled(x, training)


class OfAModuleWithin(tf.Module):
    """It asks a module within it as the exporter asks a model."""

    def __init__(self):
        super().__init__()
        self.inner = ByName()
        self.w = self.inner.w

    def __call__(self, x, training=False):
        return self.inner(x, training)


@pytest.mark.parametrize("kind", [ByName, ByKeyword, AsInSonnet, OfAnyArguments, OfAFunction, OfAModuleWithin])
def test_a_module_is_told_that_it_is_trained(kind):
    module = kind()
    x, y, w = RNG.normal(size=(4, 8)), RNG.normal(size=(4, 3)), module.w.numpy().astype(np.float64)
    batch = x.astype("float32"), y.astype("float32")
    workload, _, got = step_of(module, batch, keras.losses.MeanSquaredError(), keras.optimizers.SGD(0.1))
    error = 2 * x @ w - y
    assert largest_error(got["loss"], (error**2).mean()) < 1e-6
    (parameter,) = workload.parameters
    assert largest_error(got[parameter.next.name], w - 0.1 * 2 * 2 * x.T @ error / error.size) < 1e-6


class Normalised(keras.Model):
    """One of its batch normalisations takes no such argument, and is always trained."""

    class Plain(L.BatchNormalization):
        def call(self, inputs):
            return super().call(inputs, training=True)

    def __init__(self):
        super().__init__()
        self.first, self.second = L.BatchNormalization(epsilon=0.01), self.Plain(epsilon=0.01)
        self.build((16, 3))

    def call(self, x, training=False):
        return self.second(self.first(x, training=training))


def test_a_batch_normalisation_that_takes_no_training():
    x, y = RNG.normal(size=(16, 3)), RNG.normal(size=(16, 3))
    batch = x.astype("float32"), y.astype("float32")
    _, _, got = step_of(Normalised(), batch, keras.losses.MeanSquaredError(), keras.optimizers.SGD(0.1))
    for _ in range(2):
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 0.01)
    assert largest_error(got["loss"], ((x - y) ** 2).mean()) < 1e-6
