"""Recipes of Keras models run as graphs, and Keras' own steps on the same values to judge them by."""

from __future__ import annotations

import keras
import numpy as np
import onnxruntime as ort
import tensorflow as tf

from fathom_exporters.tensorflow import TensorFlowExporter
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.recipes import Recipe

EXPORTER = TensorFlowExporter()


def inputs_of(workload, mode="training", seed=0):
    """Every input of a recipe's graph: the example batch, drawn noise, and what the variables start with."""
    rng = np.random.default_rng(seed)
    drawn = {n.name: n.spec.draw.sample(n.shape, "float32", rng) for n in workload.noise[mode]}
    wanted = [spec.name for spec in workload.interface(mode, "input").inputs]
    values = {**workload.example, **drawn, **workload.initial_values(mode, 0)}
    return {name: values[name] for name in wanted}


def run_graph(workload, values, mode="training", purpose="simulators"):
    """The outputs of a recipe's graph in onnxruntime."""
    model = EXPORTER.export(ExportRequest(workload, mode, "input", purpose))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, values), strict=True))


def step_of(model, batch, loss=None, optimizer=None, **more):
    """A recipe's workload, its values and what the graph makes of them."""
    workload = EXPORTER.workload(Recipe(model, batch, loss, optimizer, **more))
    values = inputs_of(workload)
    return workload, values, run_graph(workload, values)


def eager_step(model, batch, loss, optimizer, parameters):
    """Keras' own step on the model itself, without a graph: the loss; the variables have their new values then."""
    x, y = batch
    with tf.GradientTape() as tape:
        outputs = model(x, training=True) if isinstance(model, keras.layers.Layer) else model(x)
        value = tf.reduce_mean(loss(y, outputs)) + sum(getattr(model, "losses", []))
    gradients = tape.gradient(value, [p.value if isinstance(p, keras.Variable) else p for p in parameters])
    optimizer.apply(gradients, parameters)
    return float(value)


def largest_error(got, want):
    """The largest difference, relative to the largest value of what is wanted."""
    want = np.asarray(want, np.float64)
    return float(np.abs(np.asarray(got, np.float64) - want).max() / max(np.abs(want).max(), 1e-30))
