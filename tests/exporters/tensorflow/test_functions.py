"""Steps as functions over variables: the losses of the reference's steps, by TensorFlow's executor and by XLA."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from fathom_exporters.tensorflow import TensorFlowExporter
from fathom_exporters.tensorflow.models import TENSORFLOW
from fathom_exporters.tensorflow.native.functions import FunctionStep
from fathom_exporters.tensorflow.native.profiler import TensorFlowNative
from fathom_onnx.data import batches_for
from fathom_onnx.native import NativeRequest
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Adam

CASES = [("dlrm", False, True), ("deepq", False, True), ("memnet", False, True), ("memnet", False, False)]
COMPILED = [
    ("autoenc", True, True),
    ("deepq", True, True),
    pytest.param("residual", True, True, marks=pytest.mark.slow),  # the one with padded pooling
]


@pytest.mark.parametrize(("name", "xla", "kernels"), [*CASES, *COMPILED])
def test_the_losses_of_several_steps_are_the_references(name: str, xla: bool, kernels: bool) -> None:
    spec = workload(name, "tiny")
    if isinstance(spec.optimizer, Adam) and kernels:
        # the kernel adds epsilon to the uncorrected root, which does not show where epsilon is this small
        spec = replace(spec, optimizer=replace(spec.optimizer, epsilon=1e-12))
    batches = list(itertools.islice(batches_for(spec, "training", 0, noise="input"), 3))
    start = spec.initial_values("training", 0)
    reference = TensorFlowExporter().reference(spec, "training", "float32")
    expected, values = [], dict(start)
    for batch in batches:
        outputs = reference.step({**values, **batch}).outputs
        expected.append(outputs["loss"])
        values |= {v.name: outputs[v.next.name] for v in spec.carried("training")}
    step = FunctionStep(spec, TENSORFLOW.model(name), "training", xla=xla, kernels=kernels)
    for _ in range(2):  # loading begins anew
        step.load(start)
        losses = [step.run({n: tf.convert_to_tensor(v) for n, v in batch.items()})["loss"] for batch in batches]
        np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert len(set(map(float, losses))) == len(losses)


def test_a_compiled_measurement() -> None:
    spec = workload("memnet", "tiny")
    batch = next(batches_for(spec, "inference", 0, noise="input"))
    said: list[tuple[str, int, int]] = []
    request = NativeRequest(spec, "inference", [batch], "input", threads=cpu_cores(), warmup=1, steps=2)
    measured = TensorFlowNative().compiled(request, lambda what, done, total: said.append((what, done, total)))
    expected = TensorFlowExporter().reference(spec, "inference", "float32")
    outputs = expected.step({**spec.initial_values("inference", 0), **batch}).outputs
    np.testing.assert_allclose(measured.first["logits"], outputs["logits"], rtol=1e-4, atol=1e-5)
    assert (len(measured.step_us), measured.kernels) == (2, None)
    assert measured.first_us > max(measured.step_us)
    assert said == [("compiled", number, 3) for number in (1, 2, 3)]
