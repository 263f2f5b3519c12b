"""Every optimizer of Keras, recorded: two steps of the graph against Keras' own update in float64."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402
from keras import optimizers as O  # noqa: E402

from fathom_exporters.tensorflow.recipes import RecipeReference  # noqa: E402
from fathom_onnx.exporting import ExportRequest  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from fathom_onnx.vocabulary import OPS  # noqa: E402
from support.graphs.keras_recipes import EXPORTER, inputs_of, largest_error  # noqa: E402

pytestmark = pytest.mark.slow
MSE = keras.losses.MeanSquaredError()
S = O.schedules
MAKERS = {
    "sgd": lambda: O.SGD(0.1),
    "momentum": lambda: O.SGD(0.1, momentum=0.9),
    "nesterov": lambda: O.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: O.Adam(0.01),
    "amsgrad": lambda: O.Adam(0.01, amsgrad=True),
    "adamw": lambda: O.AdamW(0.01, weight_decay=0.1),
    "adamax": lambda: O.Adamax(0.01),
    "nadam": lambda: O.Nadam(0.01),
    "adagrad": lambda: O.Adagrad(0.1),
    "adadelta": lambda: O.Adadelta(1.0),
    "rmsprop": lambda: O.RMSprop(0.01, momentum=0.5, centered=True),
    "ftrl": lambda: O.Ftrl(0.1),
    "lion": lambda: O.Lion(0.01),
    "adafactor": lambda: O.Adafactor(0.01),
    "lamb": lambda: O.Lamb(0.01),
    "muon": lambda: O.Muon(0.01),
    "schedule-free": lambda: O.ScheduleFreeAdamW(0.01),
    "clipnorm": lambda: O.SGD(0.1, clipnorm=0.1),
    "global clipnorm": lambda: O.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda: O.SGD(0.1, clipvalue=0.01),
    "average": lambda: O.SGD(0.1, use_ema=True),
    "average put back": lambda: O.SGD(0.1, use_ema=True, ema_overwrite_frequency=2),
    "accumulation": lambda: O.Adam(0.01, gradient_accumulation_steps=2),
    "scaled": lambda: O.SGD(0.1, loss_scale_factor=64.0),
    "decay": lambda: O.SGD(S.ExponentialDecay(0.1, 1, 0.5)),
    "warm-up": lambda: O.SGD(S.CosineDecay(0.01, 4, warmup_target=0.1, warmup_steps=1)),
    "pieces": lambda: O.SGD(S.PiecewiseConstantDecay([0, 1], [0.1, 0.2, 0.3])),
}


def in_double(maker, values, gradients, names):
    """Keras' own update in float64, run eagerly on variables of float64."""
    keras.config.set_floatx("float64")
    try:
        variables = [keras.Variable(values[n], dtype="float64", name="v") for n in names]
        optimizer = maker()
        for step in gradients:
            scale = optimizer.loss_scale_factor or 1
            optimizer.apply([tf.constant(scale * step[n], "float64") for n in names], variables)
        return {n: np.array(v) for n, v in zip(names, variables, strict=True)}
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("name", MAKERS)
def test_two_steps_are_those_of_keras(name):
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    batch = (rng.normal(size=(4, 8)).astype("float32"), rng.normal(size=(4, 3)).astype("float32"))
    model = keras.Sequential([L.Input((8,)), L.Dense(6, "tanh", bias_initializer="random_normal"), L.Dense(3)])
    workload = EXPORTER.workload(Recipe(model, batch, MSE, MAKERS[name]()))
    assert workload.optimizer.OP in OPS
    session = ort.InferenceSession(
        EXPORTER.export(ExportRequest(workload, "training")).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = [o.name for o in session.get_outputs()]
    judge = RecipeReference(workload, "training", "float64")
    names = [p.name for p in workload.parameters]
    values = start = inputs_of(workload)
    gradients = []
    for _ in range(2):
        got = dict(zip(outputs, session.run(None, values), strict=True))
        step = judge.step(values)
        scale = 64 if name == "scaled" else 1
        gradients.append({n: step.gradients[n] / scale for n in names})
        for output, value in step.outputs.items():
            assert largest_error(got[output], value) < 1e-5, output
        updated = judge.update(values, step.gradients)
        assert all(largest_error(updated[o], step.outputs[o]) < 1e-12 for o in updated)
        values = {n: got.get(f"{n}.next", value) for n, value in values.items()}
    assert int(values["optimizer.iteration"]) == 2
    want = in_double(MAKERS[name], start, gradients, names)
    for n in names:
        change = want[n] - start[n]
        # of the change alone; constants such as 1 - 0.999 are rounded to float32 in the graph as in Keras
        assert largest_error(values[n].astype("float64") - start[n], change) < 2e-4, n
