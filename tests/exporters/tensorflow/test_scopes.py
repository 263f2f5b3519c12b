"""The layers of operations that no scope names: neighbours, and sums of gradients."""

from __future__ import annotations

import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")

from support.graphs.tensorflow_toys import check_toy, toy  # noqa: E402


def test_an_operation_outside_every_layer_belongs_with_its_neighbour():
    def forward(net, v):
        with net.scope("first"):
            x = v["x"] * v["first.weight"]
        x = tf.exp(x)  # in no scope
        with net.scope("second"):
            return [x * v["second.weight"]]

    w, m = toy(
        forward,
        {"x": (4, 3)},
        {"first.weight": (4, 3), "second.weight": (4, 3)},
        layers=("first", "second"),
        shapes=((4, 3),),
    )
    names = {node.name for node in check_toy(w, m).graph.node}
    assert "forward/first/Exp" in names
    unnamed = {name for name in names if name.startswith("backward/") and name.split("/")[1] not in ("second", "loss")}
    assert unnamed == {"backward/first/Mul/Mul_1", "backward/first/Mul/Mul_2"}


def test_a_sum_that_an_addition_hands_on_is_of_the_addition():
    """Gradient sum of an addition's output, which TensorFlow gives to both of its inputs as it is."""

    def forward(net, v):
        with net.scope("left"):
            left = tf.tanh(v["x"] * v["left.weight"])
        with net.scope("right"):
            right = tf.sigmoid(v["x"] * v["right.weight"])
        with net.scope("join"):
            both = left + right
        with net.scope("up"):
            up = tf.exp(-both)
        with net.scope("down"):
            return [up * tf.tanh(both)]

    w, m = toy(
        forward,
        {"x": (4, 3)},
        {"left.weight": (4, 3), "right.weight": (4, 3)},
        layers=("left", "right", "join", "up", "down"),
        shapes=((4, 3),),
    )
    sums = [n.name for n in check_toy(w, m).graph.node if n.op_type == "Add" and n.name.startswith("backward")]
    assert sums == ["backward/join/Add"]


def test_the_gradient_of_a_shared_parameter_is_summed_in_its_own_layer():
    def forward(net, v):
        with net.scope("first"):
            x = tf.tanh(tf.matmul(v["x"], v["first.weight"]))
        with net.scope("second"):
            return [tf.matmul(x, v["first.weight"])]

    w, m = toy(forward, {"x": (4, 3)}, {"first.weight": (3, 3)}, layers=("first", "second"), shapes=((4, 3),))
    sums = [n.name for n in check_toy(w, m).graph.node if n.op_type == "Add" and n.name.startswith("backward")]
    assert sums == ["backward/first/Add"]
