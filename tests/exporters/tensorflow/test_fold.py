"""Static folding of a captured graph."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from fathom_exporters.tensorflow.fold import fold  # noqa: E402


def test_folding_keeps_names_and_draws_and_drops_the_rest():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (2, 3), "x")
        size = tf.shape(x, name="size")
        double = tf.multiply(size, 2, name="double")
        noise = tf.random.normal((2, 3), name="noise")
        tf.compat.v1.placeholder(tf.float32, (7,), "unused")
        with tf.control_dependencies([tf.exp(x, name="side")]):
            y = tf.tile(x + noise, double, name="y")
        tf.identity(y, name="out")
    folded = fold(graph.as_graph_def(), ["x", "unused"], ["out"])
    types = {op.name: op.type for op in folded.get_operations()}
    assert types["x"] == types["unused"] == "Placeholder"
    assert types["double"] == "Const"
    assert types["noise/RandomStandardNormal"] == "RandomStandardNormal"
    assert types["y"] == "Tile"
    assert {"size", "side"}.isdisjoint(types)
    assert not any(op.control_inputs for op in folded.get_operations())
    tensor = folded.get_operation_by_name("double").get_attr("value")
    np.testing.assert_array_equal(tf.make_ndarray(tensor), [4, 6])


def test_numbers_of_float64_that_are_rounded_stay_as_they_are() -> None:
    def step(x: tf.Tensor) -> tf.Tensor:
        table = tf.cast(tf.constant([0.1, 0.2, 0.7], tf.float64) / 3, tf.float32)
        return x * tf.cos(table) * tf.cast(tf.constant(0.3, tf.float64), tf.float32)

    function = tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec((3,), tf.float32))
    folded = fold(
        function.graph.as_graph_def(), *([t.op.name for t in end] for end in (function.inputs, function.outputs))
    )
    (cast,) = (op for op in folded.get_operations() if op.type == "Cast")
    wide = tf.make_ndarray(cast.inputs[0].op.get_attr("value"))
    np.testing.assert_array_equal(wide, np.array([0.1, 0.2, 0.7]) / 3)
    assert [op.type for op in folded.get_operations() if op.type in ("Cos", "RealDiv")] == ["Cos"]


def test_a_large_result_of_a_range_is_computed_in_the_graph_and_a_filled_tensor_is_not() -> None:
    def step(x: tf.Tensor) -> tf.Tensor:
        mask = tf.cast(tf.range(9)[:, tf.newaxis] >= tf.range(9), tf.float32)
        return x * mask + 2 * tf.tile(tf.constant([[0.5]]), (9, 9))

    function = tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec((9, 9), tf.float32))
    names = [t.op.name for t in function.inputs], [t.op.name for t in function.outputs]
    left = {
        largest: {op.type for op in fold(function.graph.as_graph_def(), *names, largest).get_operations()}
        for largest in (None, 81, 80)
    }
    assert left[None] == left[81] == {"Placeholder", "Const", "Mul", "AddV2", "Identity"}
    assert left[80] == left[81] | {"GreaterEqual", "Cast"}


def test_a_large_filled_constant_is_stored_as_its_number() -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (40, 50), "x")
        sizes = tf.shape(x, name="sizes")
        filled = tf.fill(sizes, -0.0, name="filled")
        tf.add(tf.maximum(x, filled), tf.fill((40, 1), 2.5, name="small"), name="out")
    folded = fold(graph.as_graph_def(), ["x"], ["out"])
    stored = {name: folded.get_operation_by_name(name).get_attr("value") for name in ("filled", "small")}
    assert stored["filled"].ByteSize() < 64
    np.testing.assert_array_equal(tf.make_ndarray(stored["filled"]), np.zeros((40, 50), np.float32))
    assert np.signbit(tf.make_ndarray(stored["filled"])).all()
    np.testing.assert_array_equal(tf.make_ndarray(stored["small"]), np.full((40, 1), 2.5, np.float32))
