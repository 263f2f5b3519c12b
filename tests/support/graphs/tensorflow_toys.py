"""Small TensorFlow steps: a workload and model of a few operations, exported and compared with TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import tensorflow as tf

from fathom_exporters.lowering import finish
from fathom_exporters.tensorflow.capture import capture
from fathom_exporters.tensorflow.reference import TensorFlowReference
from fathom_exporters.tensorflow.translate import translate
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Adam, Draw, Initialiser, Layer, TensorSpec, Variable, Workload


def run(proto, values):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {i.name: np.asarray(values[i.name]) for i in session.get_inputs()}
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, fed), strict=True))


@dataclass(frozen=True)
class ToyConfig:
    classes: int = 3


def toy(forward, features, parameters=(), *, layers=("body",), noise=(), outputs=("y",), shapes=((),)):
    """A workload and model of a few operations: ``forward(net, values)`` gives the outputs in order."""
    w = Workload(
        name="toy",
        preset="tiny",
        config=ToyConfig(),
        features=tuple(TensorSpec(name, shape, draw=Draw("normal")) for name, shape in features.items()),
        targets=(),
        noise={"inference": noise, "training": noise},
        parameters=tuple(Variable(name, shape, Initialiser("normal", 1.0)) for name, shape in dict(parameters).items()),
        buffers=(),
        outputs=tuple(TensorSpec(name, shape) for name, shape in zip(outputs, shapes, strict=True)),
        layers=tuple(Layer(name, "toy") for name in layers),
        optimizer=Adam(1e-2),
    )

    def named(net, config, batch):
        results = forward(net, {**batch, **net.variables})
        return dict(zip(outputs, results, strict=True))

    def loss(net, config, results, batch):
        return tf.add_n([tf.reduce_sum(tf.square(tf.cast(r, r.dtype))) for r in results.values()])

    return w, SimpleNamespace(forward=named, loss=loss)


def export_toy(w, m, mode="inference", noise="input"):
    return finish(translate(capture(w, m, mode, noise)), ExportRequest(w, mode, noise), "tensorflow", "0")


def draw(w, mode, positive=False):
    rng = np.random.default_rng(5)
    values = {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in w.interface(mode, "input").inputs}
    values |= w.initial_values(mode, 7)
    for key, value in values.items():
        if positive or key.endswith(".adam_v"):
            values[key] = np.abs(value) + np.float32(0.5)
    return {key: np.asarray(value) for key, value in values.items()}


def check_toy(w, m, mode="training", positive=False):
    values = draw(w, mode, positive)
    proto = export_toy(w, m, mode)
    got = run(proto, values)
    want = TensorFlowReference(w, m, mode, "float64").step(values).outputs
    for key, value in want.items():
        np.testing.assert_allclose(got[key], value, rtol=2e-4, atol=2e-5 * (1 + np.abs(value).max()), err_msg=key)
    return proto
