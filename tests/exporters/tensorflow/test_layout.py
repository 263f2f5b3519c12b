"""The layout of images: which transposes are left, and that the values are the same."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")

from fathom_exporters.tensorflow.translate.layout.cut import Cut  # noqa: E402
from support.graphs.of_functions.tensorflow import check_function  # noqa: E402

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def changes(model):
    """How many transposes change the layout of images to channels first, and to channels last."""
    perms = [tuple(a.ints) for n in model.graph.node if n.op_type == "Transpose" for a in n.attribute]
    return perms.count((0, 3, 1, 2)), perms.count((0, 2, 3, 1))


def block(x, w):
    """Two convolutions with what is usual between them, by hand: bias, normalisation, activation, pool, joint."""
    y = tf.nn.conv2d(x, w, 1, "SAME") + tf.reshape(w[0, 0, 0], [1, 1, 1, 3])
    m = tf.reduce_mean(y, [0, 1, 2], keepdims=True)
    y = (y - m) * tf.math.rsqrt(tf.reduce_mean(tf.math.squared_difference(y, m), [0, 1, 2], keepdims=True) + 0.1)
    y = tf.pad(tf.nn.elu(y), [[0, 0], [1, 0], [0, 1], [0, 0]])
    y = tf.concat([tf.nn.max_pool2d(y, 2, 2, "VALID"), y[:, ::2, 1::2, :] * 2], 3)
    y = y * tf.sigmoid(tf.reduce_mean(y, [1, 2], keepdims=True))
    return tf.nn.conv2d(y[..., 1:4], w, 1, "SAME")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (block, (1, 1)),  # the image in, the image out
        (lambda x, w: tf.reduce_mean(block(x, w), [1, 2]), (1, 0)),  # [N, C] is the same in both
        (lambda x, w: tf.reshape(block(x, w), [2, -1]), (1, 1)),  # the elements of a row in their order
        (lambda x, w: tf.reshape(block(x, w), [2, 16, 3]) + w[0, 0, 0], (1, 0)),  # that of a line is [0, 2, 1]
        (lambda x, w: tf.tanh(x) + 1, (0, 0)),  # no op needs the channels first
        (lambda x, w: tf.exp(tf.nn.conv2d(tf.tanh(x) * tf.exp(x), w, 1, "SAME")), (1, 1)),
        (lambda x, w: tf.transpose(tf.nn.conv2d(x, w, 1, "SAME"), [0, 3, 1, 2]), (1, 0)),  # as the model asks
    ],
)
def test_transposes_are_left_at_the_edges_only(function, expected):
    model = check_function(function, normal(2, 7, 7, 3), normal(3, 3, 3, 3), gradients=False)
    assert changes(model) == expected


def test_a_step_has_one_more_at_each_edge_of_its_gradient():
    model = check_function(
        lambda x, w: tf.reshape(block(x, w), [2, -1]), normal(2, 7, 7, 3), normal(3, 3, 3, 3), tolerance=1e-4
    )
    # the image and its gradient, the rows and theirs, and the gradient of a slice in steps, which takes axes apart
    assert changes(model) == (3, 3)


def test_lines_and_volumes():
    def lines(x, w):
        y = tf.nn.relu(tf.nn.conv1d(x, w, 1, "SAME"))
        return tf.nn.conv1d(y + tf.reduce_max(y, 1, keepdims=True), w, 1, "SAME")

    check_function(lines, normal(2, 7, 3), normal(3, 3, 3), tolerance=1e-4)

    def volumes(x, w):
        return tf.nn.conv3d(tf.nn.elu(tf.nn.conv3d(x, w, [1] * 5, "SAME")) * 2, w, [1] * 5, "SAME")

    model = check_function(volumes, normal(2, 4, 5, 3, 3), normal(2, 2, 2, 3, 3), gradients=False)
    perms = [tuple(a.ints) for n in model.graph.node if n.op_type == "Transpose" for a in n.attribute]
    assert sorted(perms) == [(0, 2, 3, 4, 1), (0, 4, 1, 2, 3), (4, 3, 0, 1, 2)]


def test_the_cheapest_labels():
    cut = Cut()
    cut.connect(False, ["a"], 5)  # what is fixed at False feeds a, a feeds b and c, c is read where True is fixed
    cut.connect("a", ["b", "c"], 3)
    cut.connect("c", [True], 4)
    cut.prefer("b", True, 1)
    labels = cut.solve()
    assert {name: labels[name] for name in "abc"} == {"a": False, "b": True, "c": True}  # 3, once for both readers
