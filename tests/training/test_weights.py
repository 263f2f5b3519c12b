"""Weights of a checkpoint go on: into the inference graph, and back into the frameworks' models."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from fathom_onnx.training import CheckpointFolder, CheckpointPlan, InferenceMetrics, read_checkpoint, train
from fathom_onnx.workloads import workload
from support.graphs.exports import FRAMEWORKS, WORKLOADS
from support.graphs.small_models import cnn

CPU = SessionSettings(threads=1)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def trained(request, tiny, tmp_path_factory) -> tuple[str, Path]:
    """A checkpoint of residual, which has running statistics, after some steps."""
    folder = tmp_path_factory.mktemp(request.param)
    graph = tiny("residual", request.param, "training")
    batches = batches_for(workload("residual", "tiny"), "training", 0)
    train(graph, batches, 5, CPU, kept=CheckpointPlan(CheckpointFolder(folder)))
    return request.param, CheckpointFolder(folder).paths()[0]


def logits(tiny, framework: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A batch of images, and what the inference graph makes of it with the checkpoint's weights."""
    images = next(batches_for(workload("residual", "tiny"), "inference", 7))["images"]
    values = read_checkpoint(path).values
    graph = tiny("residual", framework, "inference")
    return images, Evaluator(graph).step({**values, "images": images}).outputs["logits"]


def test_into_a_model_of_pytorch(tiny, trained) -> None:
    import torch
    from safetensors.torch import load_file

    from fathom_exporters.torch.models import make

    framework, path = trained
    images, expected = logits(tiny, framework, path)
    model = make(workload("residual", "tiny"))
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert all(name.endswith((".adam_m", ".adam_v", "adam.step")) for name in unexpected)
    with torch.no_grad():
        found = model.eval()({"images": torch.from_numpy(images)})["logits"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_into_a_model_of_tensorflow(tiny, trained) -> None:
    import tensorflow as tf

    from fathom_exporters.tensorflow.models import TENSORFLOW
    from fathom_exporters.tensorflow.net import Net

    framework, path = trained
    images, expected = logits(tiny, framework, path)
    values = {name: tf.constant(value) for name, value in read_checkpoint(path).values.items()}
    net = Net(variables=values, mode="inference", data_format="NHWC")
    config = workload("residual", "tiny").config
    found = TENSORFLOW.model("residual").forward(net, config, {"images": tf.constant(images)})["logits"].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_into_a_file_with_its_weights(tiny, trained, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from fathom_onnx.cli import main
    from fathom_onnx.graph import load
    from fathom_onnx.runtime.prepare import prepare

    framework, path = trained
    images, expected = logits(tiny, framework, path)
    graph = tmp_path / "residual.onnx"
    graph.write_bytes(tiny("residual", framework, "inference").model.SerializeToString())
    arguments = ["convert", str(graph), "--to", "initializers", "--values", str(path), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (made,) = (tmp_path / "out").glob("*.onnx")
    stepper = open_stepper(prepare(load(made)), CPU)
    stepper.step({"images": images})
    np.testing.assert_allclose(stepper.results()["logits"], expected, rtol=1e-4, atol=1e-5)


def test_profiling_takes_the_weights_of_a_checkpoint(tiny, trained, tmp_path: Path) -> None:
    framework, path = trained
    for mode in ("inference", "training"):
        run = profile(tiny("residual", framework, mode), steps=2, warmup=1, threads=1, values=path)
        assert run.manifest["values"] == str(path)
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with pytest.raises(DataError, match=r"has no array 'conv1\.weight'"):
        profile(tiny("residual", framework, "inference"), steps=1, values=tmp_path / "other.npz")
    with pytest.raises(UsageError, match="has no variables to give values to"):
        profile(cnn(), steps=1, values=path)


def test_metrics_are_those_of_the_weights_of_the_run(tiny) -> None:
    """A classifier whose last bias names a class is right as often as that class occurs."""
    spec = workload("residual", "tiny")
    batches = list(itertools.islice(batches_for(spec, "training", 3), 4))
    metrics = InferenceMetrics(tiny("residual", "torch", "inference"), batches, CPU)
    values = spec.initial_values("inference", 0)
    labels = np.concatenate([b["labels"].argmax(-1) for b in batches])
    for named in (0, 1):
        bias = np.zeros_like(values["fc.bias"])
        bias[named] = 1e6
        found = metrics.of({**values, "fc.bias": bias})
        assert found == {"top-1 accuracy": pytest.approx((labels == named).mean())}


@pytest.mark.parametrize("name", [name for name in WORKLOADS if "training" in workload(name, "tiny").modes])
def test_every_workload_is_resumed_bit_for_bit(tiny, tmp_path: Path, name: str) -> None:
    """Statistics, counters, dropout and other noise, gradient noise: all of it is state, or depends on the step."""
    graph, spec = tiny(name, "torch", "training"), workload(name, "tiny")

    def run(steps: int, **options):
        return train(graph, batches_for(spec, "training", 0), steps, CPU, **options)

    whole = run(5)
    folder = CheckpointFolder(tmp_path)
    run(2, kept=CheckpointPlan(folder, data=spec.data))
    resumed = run(5, kept=CheckpointPlan(folder, resume=True, data=spec.data))
    assert resumed.first_step == 3
    assert resumed.losses == whole.losses
    assert resumed.remarks == ()
    assert {n: v.tobytes() for n, v in resumed.values.items()} == {n: v.tobytes() for n, v in whole.values.items()}
