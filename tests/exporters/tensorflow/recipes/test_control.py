"""Loops, lists of tensors, branches and segments in a step: written out, and equal to the step that Keras takes."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402
from keras import ops  # noqa: E402

from fathom_onnx.errors import ExportError  # noqa: E402
from fathom_onnx.exporting import ExportRequest  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from support.graphs.keras_recipes import EXPORTER, eager_step, largest_error, step_of  # noqa: E402

pytestmark = pytest.mark.slow
MSE = keras.losses.MeanSquaredError()


class Applied(L.Layer):
    """A function of the input and a square matrix."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        return self.function(x, self.kernel)


class Shifted(L.Layer):
    """A state that a loop changes: each step of three adds the mean of the input to it."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")
        self.total = self.add_weight(shape=(), initializer="zeros", trainable=False, name="total")

    def call(self, x):
        def body(i, h):
            self.total.assign_add(tf.reduce_mean(x))
            return i + 1, h + self.total

        return tf.while_loop(lambda i, h: i < 3, body, (0, x))[1] @ self.kernel


def in_array(x, w):
    array = tf.TensorArray(tf.float32, 4)
    for i in range(3):
        array = array.write(i, tf.tanh(x @ w) * (i + 1.0))
    array = array.write(3, x)
    return tf.reduce_sum(array.gather([3, 1]), 0) + array.read(0)


def joined(x, w):
    array = tf.TensorArray(tf.float32, 2, infer_shape=False).write(0, x[:1]).write(1, tf.tanh(x[1:] @ w))
    return tf.reshape(array.concat(), (-1, 6)) @ w


def uneven(x, w):
    """A loop whose body has a branch that the step's number decides, and which counts by two."""
    return tf.while_loop(
        lambda i, h: i < 5,
        lambda i, h: (i + 2, tf.cond(i > 1, lambda: tf.tanh(h @ w), lambda: h * 0.5)),
        (tf.constant(1), x),
    )[1]


FUNCTIONS = {
    "while": lambda x, w: tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(h @ w)), (0, x))[1],
    "by maximum": lambda x, w: tf.while_loop(lambda h: True, lambda h: (tf.sin(h @ w),), (x,), maximum_iterations=2)[0],
    "by the shape": lambda x, w: tf.while_loop(
        lambda i, h: i < tf.shape(h)[0], lambda i, h: (i + 1, tf.tanh(h @ w)), (0, x)
    )[1],
    "never": lambda x, w: tf.while_loop(lambda i, h: i < 0, lambda i, h: (i + 1, tf.tanh(h)), (0, x @ w))[1],
    "nested": lambda x, w: ops.fori_loop(0, 2, lambda i, h: ops.fori_loop(0, 2, lambda j, g: ops.tanh(g @ w), h), x),
    "uneven": uneven,
    "scan": lambda x, w: ops.scan(lambda h, y: (ops.tanh(h @ w) + y, h), x, ops.arange(3.0))[0],
    "stacked": lambda x, w: ops.scan(lambda h, _: (ops.tanh(h @ w), h), x, ops.arange(3))[1][1],
    "map": lambda x, w: tf.map_fn(lambda row: tf.tanh(tf.linalg.matvec(w, row)), x),
    "array": in_array,
    "joined": joined,
    "case": lambda x, w: tf.switch_case(
        tf.cast(tf.reduce_sum(x) > 0, tf.int32) + 1, [lambda: x, lambda: tf.tanh(x @ w), lambda: 2 * x @ w]
    ),
    "case by default": lambda x, w: tf.switch_case(
        tf.cast(tf.reduce_sum(x) > -1e9, tf.int32) * 7, [lambda: x, lambda: tf.tanh(x @ w)]
    ),
    "ctc": lambda x, w: (
        x * tf.nn.ctc_loss([[1, 2], [2, 0]], tf.reshape(x @ w, (2, 4, 3)), [2, 1], [4, 3], False, blank_index=0)[0]
    ),
    "flags": lambda x, w: tf.where((x[:, 0] > 0)[:, None], x @ w, x),
    "gamma": lambda x, w: tf.math.lgamma(0.05 + tf.sigmoid(x @ w)),
}


def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 6)).astype("float32"), rng.normal(size=(4, 3)).astype("float32")


def assert_right(layer, loss=MSE):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((6,)), L.Dense(6), layer, L.Dense(3)])
    workload, _, got = step_of(model, batch(), loss, keras.optimizers.SGD(0.1))
    value = eager_step(model, batch(), loss, keras.optimizers.SGD(0.1), model.trainable_variables)
    assert got["loss"] == pytest.approx(value, rel=1e-5)
    for parameter, variable in zip(workload.parameters, model.trainable_variables, strict=True):
        assert largest_error(got[parameter.next.name], variable) < 1e-5, parameter.name
    return model, workload, got


@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_flow(name):
    assert_right(Applied(FUNCTIONS[name]))


def test_a_loop_that_assigns():
    model, _, got = assert_right(Shifted())
    assert got["shifted.total.next"] == pytest.approx(float(model.layers[1].total.value), rel=1e-5)


IDS = np.array([0, 0, 1, 3])


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_sorted_segments_of_known_numbers(name):
    reduce = getattr(tf.math, f"segment_{name}")
    assert_right(Applied(lambda x, w: tf.reverse(reduce(x @ w, IDS), [0])))


SEEDS = keras.random.SeedGenerator(1)


REFUSED = {
    "while": (
        lambda x, w: tf.while_loop(lambda h: tf.reduce_sum(tf.abs(h)) > 1e-3, lambda h: (0.5 * tf.tanh(h),), (x,))[0],
        r"While in layer 'applied' at .*test_control.py:\d+: .*: a loop whose end depends on values; take a fixed",
    ),
    "inverse": (
        lambda x, w: x @ tf.linalg.inv(w + 9.0 * tf.eye(6)),
        r"MatrixInverse in layer 'applied' at .*test_control.py.*factorisation.*; compute it before",
    ),
    "mask": (lambda x, w: x * tf.reduce_sum(tf.boolean_mask(x @ w, x > 0)), "Where in layer .* shape that depends"),
    "fft": (lambda x, w: tf.math.real(tf.signal.rfft(x @ w))[:, :1] * x, "RFFT in layer .*; a transform of a fixed"),
    "python": (
        lambda x, w: tf.reshape(tf.py_function(lambda y: 2 * y, [x @ w], tf.float32), (4, 6)),
        "PyFunc in layer .* calls Python",
    ),
    "draw": (
        lambda x, w: x @ w + tf.cast(keras.random.randint((4, 6), 0, 3, seed=SEEDS), "float32"),
        "StatelessRandomUniformIntV2 in layer .* whole numbers.*; take the floor of a uniform draw",
    ),
    "untrained": (
        lambda x, w: keras.ops.slice_update(x @ w, (0, 1), x[:, :2]),
        r"TensorFlow has no gradient of XlaDynamicUpdateSlice; .* tf.tensor_scatter_nd_update",
    ),
    "shape": (
        lambda x, w: tf.reduce_sum(x[: tf.cast(x[0, 0] > 0, tf.int32) + 2], 0) * (x @ w),
        "StridedSlice in .* shape",
    ),
    "unknown": (lambda x, w: tf.raw_ops.Cross(a=x[:, :3], b=x[:, 3:]) @ w[:3], "Cross in layer .* no translation; wri"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_operation_layer_line_and_rewrite(name):
    function, words = REFUSED[name]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((6,), batch_size=4), L.Dense(6), Applied(function), L.Dense(3)])
    recipe = Recipe(model, batch(), MSE, keras.optimizers.SGD(0.1))
    with pytest.raises(ExportError, match=words) as caught:
        EXPORTER.export(ExportRequest(EXPORTER.workload(recipe), "training"))
    assert "\n" not in str(caught.value)


def test_what_prepares_images_is_to_be_left_out_of_the_model():
    model = keras.Sequential([L.Input((6, 6, 1)), L.RandomRotation(0.1), L.Flatten(), L.Dense(3)])
    images = (np.zeros((4, 6, 6, 1), "float32"), batch()[1])
    with pytest.raises(
        ExportError, match=r"in layer 'random_rotation'.*; apply the layer to the batch before the step"
    ):
        recipe = Recipe(model, images, MSE, keras.optimizers.SGD(0.1))
        EXPORTER.export(ExportRequest(EXPORTER.workload(recipe), "training"))


def test_what_looks_numbers_up_is_to_be_left_out_of_the_model():
    lookup = L.IntegerLookup(vocabulary=[1, 3, 5], output_mode="one_hot")
    model = keras.Sequential([L.Input((1,), dtype="int64"), lookup, L.Dense(3)])
    numbers = np.array([[1], [3], [4], [5]])
    with pytest.raises(ExportError, match=r"in layer 'integer_lookup'.*; look words and numbers up before the model"):
        EXPORTER.workload(Recipe(model, (numbers, batch()[1]), MSE, keras.optimizers.SGD(0.1)))


class Flagged(L.Layer):
    """Sets a flag, and reads a generator of TensorFlow's own."""

    def __init__(self):
        super().__init__()
        self.generator = tf.random.Generator.from_seed(3)

    def build(self, shape):
        self.seen = self.add_weight(shape=(), dtype="bool", initializer="zeros", trainable=False, name="seen")

    def call(self, x, training=False):
        if training:
            self.seen.assign(True)
            x = x + self.generator.normal(tf.shape(x))
        return x


def test_flags_and_generators():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((6,)), Flagged(), L.Dense(3)])
    workload, values, got = step_of(model, batch(), MSE, keras.optimizers.SGD(0.1))
    assert [(n.name, n.distribution) for n in workload.noise["training"]] == [("flagged.noise", "normal")]
    assert got["flagged.seen.next"].dtype == bool
    assert got["flagged.seen.next"]
    predicted = (batch()[0] + values["flagged.noise"]) @ values["dense.kernel"]
    assert got["loss"] == pytest.approx(((predicted - batch()[1]) ** 2).mean(), rel=1e-5)


def test_the_rewrite_of_a_loop_by_values():
    """Steps of a fixed number, of which those that are done keep what there is."""

    def done_early(x, w):
        h, done = x @ w, tf.constant(False)
        for _ in range(6):
            done = done | (tf.reduce_sum(tf.abs(h)) <= 4.0)
            h = tf.where(done, h, 0.5 * tf.tanh(h))
        return h

    assert_right(Applied(done_early))
