"""The translation of single TensorFlow operations, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")

from fathom_exporters.tensorflow.capture import capture  # noqa: E402
from fathom_exporters.tensorflow.layers import local_response_norm  # noqa: E402
from fathom_exporters.tensorflow.reference import TensorFlowReference  # noqa: E402
from fathom_onnx.errors import ExportError  # noqa: E402
from fathom_onnx.workloads.contract import Noise  # noqa: E402
from support.graphs.tensorflow_toys import check_toy, draw, export_toy, run, toy  # noqa: E402

POINTWISE = {
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "softplus": tf.nn.softplus,
    "relu": tf.nn.relu,
    "exp": tf.exp,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "reciprocal": tf.math.reciprocal,
    "square": tf.square,
    "abs": tf.abs,
    "pow": lambda x: tf.pow(x, 3.0),
    "maximum": lambda x: tf.maximum(x, 1.0),
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.log_softmax,
    "choice": lambda x: tf.where(x > 1, x * 2, tf.square(x)),
    "sum": lambda x: x / tf.reduce_sum(x, -1, keepdims=True),
    "largest": lambda x: x - tf.reduce_max(x, 1, keepdims=True),
    "mean": lambda x: x * tf.reduce_mean(x),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_operations_and_their_gradients(name):
    def forward(net, v):
        with net.scope("body"):
            return [POINTWISE[name](v["x"] * v["body.weight"])]

    w, m = toy(forward, {"x": (4, 5)}, {"body.weight": (4, 5)}, shapes=((4, 5),))
    check_toy(w, m, positive=True)


MOVES = {
    "concat": lambda x, y: tf.concat([x, y, x], 1),
    "stack": lambda x, y: tf.stack([x, y], 1),
    "slice": lambda x, y: x[1:3, ::2] + y[0:2, 0:3],
    "split": lambda x, y: tf.split(x, [2, 3], 1)[1] * tf.unstack(y, axis=1)[0][:, None],
    "tile": lambda x, y: tf.tile(x, [2, 3]),
    "broadcast": lambda x, y: tf.broadcast_to(x[:1], [4, 5]) + y,
    "transpose": lambda x, y: tf.transpose(tf.reshape(x, [2, 2, 5]), [2, 0, 1]),
    "pad": lambda x, y: tf.pad(x, [[1, 0], [0, 2]]),
    "product": lambda x, y: tf.matmul(x, y, transpose_a=True) + tf.matmul(y[:, :4], x[:, :4])[0, 0],
    "batched": lambda x, y: tf.matmul(tf.reshape(x, [2, 2, 5]), tf.reshape(y, [2, 2, 5]), transpose_b=True),
    "bias": lambda x, y: tf.nn.bias_add(x, y[0]),
    "rows": lambda x, y: tf.compat.v1.where(x[:, 0] > 0, x, y),
    "gather": lambda x, y: tf.gather(x, [2, 0], axis=0),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_products_and_choices(name):
    shape = tuple(MOVES[name](tf.zeros((4, 5)), tf.zeros((4, 5))).shape)

    def forward(net, v):
        with net.scope("body"):
            return [MOVES[name](v["x"], v["z"])]

    w, m = toy(forward, {"x": (4, 5), "z": (4, 5)}, shapes=(shape,))
    check_toy(w, m, "inference")


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "channels"),
    [(3, 2, "SAME", 2), (3, 2, "VALID", 2), (1, 2, "VALID", 4), (5, 3, "SAME", 4)],
)
def test_convolutions_and_their_gradients(kernel, stride, padding, channels):
    def forward(net, v):
        x = net.image(v["x"] * v["first.weight"])
        with net.scope("body"):
            filters = tf.transpose(v["body.weight"], (2, 3, 1, 0))
            return [net.nchw(tf.nn.conv2d(x, filters, stride, padding, net.data_format))]

    size = tuple(tf.nn.conv2d(tf.zeros((2, 9, 8, 4)), tf.zeros((kernel, kernel, channels, 6)), stride, padding).shape)
    w, m = toy(
        forward,
        {"x": (2, 4, 9, 8)},
        {"first.weight": (2, 4, 9, 8), "body.weight": (6, channels, kernel, kernel)},
        layers=("first", "body"),
        shapes=((size[0], size[3], *size[1:3]),),
    )
    values = draw(w, "inference")
    got = run(export_toy(w, m), values)
    want = TensorFlowReference(w, m, "inference", "float64").step(values).outputs
    np.testing.assert_allclose(got["y"], want["y"], rtol=1e-4, atol=1e-4)
    if channels == 4:  # TensorFlow's CPU kernels have no gradient of grouped convolutions to compare with
        check_toy(w, m)


@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(5, 0.2, 0.75, 2.0), (3, 0.9, 0.4, 0.7)])
def test_local_response_norm_and_its_gradient(size, alpha, beta, k):
    """With an alpha at which the norm changes what it is given, unlike the 1e-4 of alexnet."""

    def forward(net, v):
        x = net.image(v["x"] * v["first.weight"])
        return [net.nchw(local_response_norm(net, "body", x, size, k, alpha, beta))]

    shape = (2, 7, 3, 4)
    w, m = toy(forward, {"x": shape}, {"first.weight": shape}, layers=("first", "body"), shapes=(shape,))
    kinds = {node.op_type for node in check_toy(w, m).graph.node if node.name.startswith("forward")}
    assert kinds == {"Mul", "LRN"}
    # TensorFlow's own kernels as well, which work in single precision only
    values = draw(w, "training")
    single, double = (
        TensorFlowReference(w, m, "training", dtype).step(values).outputs for dtype in ("float32", "float64")
    )
    for key, value in double.items():
        np.testing.assert_allclose(single[key], value, rtol=1e-4, atol=1e-6 * (1 + np.abs(value).max()), err_msg=key)


@pytest.mark.parametrize(("distribution", "op"), [("normal", "RandomNormal"), ("uniform", "RandomUniform")])
def test_two_draws_of_the_same_shape_stay_two(distribution, op):
    noise = (Noise("first", (40, 30), distribution), Noise("second", (40, 30), distribution))

    def forward(net, v):
        with net.scope("body"):
            return [net.draw("first") - net.draw("second")]

    w, m = toy(forward, {"x": (4, 3)}, noise=noise, shapes=((40, 30),))
    proto = export_toy(w, m, noise="graph")
    assert [node.op_type for node in proto.graph.node] == [op, op, "Sub"]
    # independent: the deviation of the difference is sqrt(2) times that of one, 1 or sqrt(1/12)
    deviation = run(proto, draw(w, "inference"))["y"].std()
    assert deviation == pytest.approx(np.sqrt(2 if distribution == "normal" else 1 / 6), rel=0.15)


def test_an_operation_of_no_canonical_kind_is_an_error():
    def forward(net, v):
        with net.scope("body"):
            return [tf.raw_ops.Cross(a=v["x"], b=v["x"])]

    w, m = toy(forward, {"x": (4, 3)}, shapes=((4, 3),))
    with pytest.raises(ExportError, match=r"forward/body/Cross.*Cross.*ops\.py"):
        export_toy(w, m)


def test_an_operation_that_cannot_be_translated_is_an_error_with_its_name():
    def forward(net, v):
        with net.scope("body"):
            return [tf.transpose(tf.nn.relu(v["x"]), tf.cast(v["x"][0, :2], tf.int32))]

    w, m = toy(forward, {"x": (3, 3)}, shapes=((3, 3),))
    with pytest.raises(ExportError, match=r"forward/body/transpose.*input 1 of Transpose is not constant"):
        export_toy(w, m)


def test_images_with_the_channels_last_are_transposed_at_the_edges():
    def forward(net, v):
        with net.scope("body"):
            return [tf.nn.max_pool2d(v["x"], 2, 2, "VALID")]

    w, m = toy(forward, {"x": (2, 4, 4, 3)}, shapes=((2, 2, 2, 3),))
    model = export_toy(w, m)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "MaxPool", "Transpose"]
    x = np.arange(96, dtype="float32").reshape(2, 4, 4, 3)
    np.testing.assert_array_equal(run(model, {"x": x})["y"], x[:, 1::2, 1::2])


def test_what_the_model_leaves_out_is_an_error():
    w, m = toy(lambda net, v: [v["x"] * 2], {"x": (2,)}, {"body.weight": (2,)}, shapes=((2,),))
    with pytest.raises(ExportError, match=r"no gradient of parameter body\.weight"):
        capture(w, m, "training", "graph")
    with pytest.raises(ExportError, match=r"'mul'.*belongs to no layer of toy"):
        export_toy(w, m)
    nothing = SimpleNamespace(forward=lambda net, config, batch: {}, loss=m.loss)
    with pytest.raises(ExportError, match="no output y"):
        capture(w, nothing, "inference", "graph")
