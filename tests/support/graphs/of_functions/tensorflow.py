"""A few lines of TensorFlow and their gradients as a graph, compared with TensorFlow in double precision."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fathom_exporters.lowering import finish
from fathom_exporters.tensorflow.capture import Captured
from fathom_exporters.tensorflow.fold import fold
from fathom_exporters.tensorflow.translate import translate
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Adam, Layer, TensorSpec, Workload
from support.graphs.tensorflow_toys import ToyConfig, run

PURPOSES = ("simulators", "onnxruntime", "cuda")


def _with_gradients(function, arguments, gradients):
    """The function's results, and gradients of the sum of their unevenly weighted squares for the float arguments."""
    floats = [a for a in arguments if a.dtype.is_floating] if gradients else []
    with tf.GradientTape() as tape:
        tape.watch(floats)
        with tf.name_scope("forward/body/"):
            results = tf.nest.flatten(function(*arguments))
        with tf.name_scope("loss/loss/"):
            total = 0
            for result in results:
                if gradients and result.dtype.is_floating:
                    weights = np.cos(np.arange(result.shape.num_elements())).reshape(result.shape)
                    total += tf.reduce_sum(tf.square(result) * tf.constant(weights, result.dtype))
    made = tape.gradient(total, floats) if floats else []
    dense = [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in made]
    return [*results, *(g for g in dense if g is not None)]


def captured_function(function, values, gradients=True):
    """The capture of a function of the values: outputs ``y0``, ``y1`` and on, its results and their gradients."""
    specs = [tf.TensorSpec(v.shape, v.dtype) for v in values]

    def whole(*arguments):
        return [tf.identity(t) for t in _with_gradients(function, arguments, gradients)]

    concrete = tf.function(whole, autograph=False).get_concrete_function(*specs)
    graph = fold(
        concrete.graph.as_graph_def(), [t.op.name for t in concrete.inputs], [t.op.name for t in concrete.outputs]
    )
    workload = Workload(
        name="function",
        preset="tiny",
        config=ToyConfig(),
        features=tuple(TensorSpec(f"x{n}", tuple(v.shape), str(v.dtype)) for n, v in enumerate(values)),
        targets=(),
        noise={"inference": (), "training": ()},
        parameters=(),
        buffers=(),
        outputs=tuple(
            TensorSpec(f"y{n}", tuple(t.shape), t.dtype.name if t.dtype != tf.bool else "bool")
            for n, t in enumerate(concrete.outputs)
        ),
        layers=(Layer("body", "function"),),
        optimizer=Adam(1e-2),
    )
    return Captured(
        workload,
        graph,
        {t.name: f"x{n}" for n, t in enumerate(concrete.inputs)},
        {t.name: f"y{n}" for n, t in enumerate(concrete.outputs)},
    )


def exported(captured, purpose="simulators"):
    """The finished graph of a captured function."""
    return finish(
        translate(captured), ExportRequest(captured.workload, "inference", "input", purpose), "tensorflow", ""
    )


def check_function(function, *values, gradients=True, tolerance=2e-5, purposes=PURPOSES):
    """A function's graph, for each purpose, gives what TensorFlow gives in double precision."""
    captured = captured_function(function, values, gradients)
    wide = [tf.constant(v, tf.float64 if v.dtype == np.float32 else None) for v in values]
    run_wide = tf.function(lambda: _with_gradients(function, wide, gradients), autograph=False)
    want = [t.numpy() for t in run_wide()]
    model = None
    for purpose in purposes:
        model = exported(captured, purpose)
        got = run(model, {f"x{n}": v for n, v in enumerate(values)})
        for n, expected in enumerate(want):
            actual = got[f"y{n}"]
            assert actual.shape == expected.shape
            if expected.dtype.kind != "f":
                np.testing.assert_array_equal(actual, expected)
                continue
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=1e-3)
            np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * largest)
    return model
