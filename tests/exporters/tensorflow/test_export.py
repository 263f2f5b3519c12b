"""The TensorFlow exporter: the built-in workloads end to end, and the package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")

from fathom_exporters.lowering import DOMAIN, Tag  # noqa: E402
from fathom_exporters.tensorflow import TensorFlowExporter  # noqa: E402
from fathom_exporters.tensorflow.capture import capture  # noqa: E402
from fathom_exporters.tensorflow.models import TENSORFLOW  # noqa: E402
from fathom_exporters.tensorflow.translate import translate  # noqa: E402
from fathom_exporters.tensorflow.translate.convert import HANDLERS  # noqa: E402
from fathom_exporters.tensorflow.translate.ops import CANONICAL_OF, MOVED_AWAY  # noqa: E402
from fathom_onnx.exporting import ExportRequest  # noqa: E402
from fathom_onnx.graph import Address  # noqa: E402
from fathom_onnx.vocabulary import OPS  # noqa: E402
from fathom_onnx.workloads import workload  # noqa: E402
from support.graphs.tensorflow_toys import run  # noqa: E402
from support.graphs.tensorflow_values import values_of  # noqa: E402

EXPORTER = TensorFlowExporter()


@pytest.fixture(scope="module")
def exported():
    """Export of (workload, mode, noise), each exported once."""
    models = {}

    def get(name, mode, noise="graph"):
        if (name, mode, noise) not in models:
            models[name, mode, noise] = EXPORTER.export(ExportRequest(workload(name, "tiny"), mode, noise))
        return models[name, mode, noise]

    return get


# --- the built-in workloads


@pytest.mark.parametrize(
    ("name", "mode"),
    [("autoenc", "training"), *((name, "inference") for name in ("autoenc", "residual", "vgg", "alexnet"))],
)
def test_the_graph_gives_what_tensorflow_gives(exported, name, mode):
    w, values = values_of(name, mode)
    got = run(exported(name, mode, "input"), values)
    want = EXPORTER.reference(w, mode, "float64").step(values).outputs
    assert list(got) == [spec.name for spec in w.interface(mode, "input").outputs]
    for key, value in want.items():
        assert got[key].shape == value.shape
        assert np.isfinite(got[key]).all()
        tolerance = 1e-5 if key == "loss" else 1e-4
        assert np.abs(got[key] - value).max() <= tolerance * np.abs(value).max(), key


def test_noise_is_drawn_in_the_graph_without_a_seed(exported):
    proto = exported("autoenc", "training")
    draws = [node for node in proto.graph.node if node.op_type == "RandomNormal"]
    assert [node.name for node in draws] == ["forward/sample/RandomNormal"]
    assert "seed" not in {a.name for a in draws[0].attribute}
    assert "noise" not in {i.name for i in proto.graph.input}
    _, values = values_of("autoenc", "training")
    assert run(proto, values)["loss"] != run(exported("autoenc", "training", "input"), values)["loss"]


def test_addresses_of_residual_follow_its_layers(exported):
    w = workload("residual", "tiny")
    kinds = {layer.name: layer.kind for layer in w.layers}
    proto = exported("residual", "training")
    places = {(a.phase, a.scope, a.op) for a in (Address.parse(node.name) for node in proto.graph.node)}
    for layer, kind in kinds.items():
        expected = {
            "convolution": [("forward", "Conv2D"), ("backward", "Conv2DBackFilter"), ("backward", "Conv2DBackInput")],
            "batch norm": [("forward", "BatchNormTraining"), ("backward", "BatchNormGrad")],
            "relu": [("forward", "Relu"), ("backward", "ReluGrad")],
            "max pool": [("forward", "MaxPool"), ("backward", "MaxPoolGrad")],
            "residual addition": [("forward", "Add")],
            "global average pool": [("forward", "Mean"), ("backward", "Tile")],
            "linear": [("forward", "MatMul"), ("backward", "MatMul"), ("backward", "Sum")],
        }[kind]
        if layer == "conv1":
            expected = expected[:2]  # nothing asks for the gradient of the images
        for phase, op in expected:
            assert (phase, layer, op) in places
    # where an activation is read twice, the sum of its gradients is its own layer's
    sums = {scope for phase, scope, op in places if (phase, op) == ("backward", "Add")}
    assert {"maxpool", "layer1.0.relu2", "layer2.0.relu2", "layer3.0.relu2"} <= sums
    optimizer = {(scope, op) for phase, scope, op in places if phase == "optimizer"}
    assert optimizer == {(scope, "ApplyAdam") for scope in ("step", *(p.name for p in w.parameters))}
    assert {op for phase, _, op in places if phase == "loss"} == {"CrossEntropy", "Mean"}


def test_addresses_of_alexnet_follow_its_layers(exported):
    places = {
        (a.phase, a.scope, a.op)
        for a in (Address.parse(node.name) for node in exported("alexnet", "training").graph.node)
    }
    for layer in ("norm1", "norm2"):
        assert {(p, op) for p, scope, op in places if scope == layer} == {("forward", "LRN"), ("backward", "LRNGrad")}
    forward = {("forward", op) for op in ("RandomUniform", "Compare", "Cast", "Mul")}
    for layer in ("dropout6", "dropout7"):
        assert {(p, op) for p, scope, op in places if scope == layer} == {*forward, ("backward", "Mul")}


@pytest.mark.parametrize("name", ["vgg", "alexnet"])
def test_inference_of_the_plain_classifiers_is_the_network_and_nothing_else(exported, name):
    kinds = [Address.parse(node.name).op for node in exported(name, "inference").graph.node]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    expected = {"Reshape": 1, "MatMul": 3}
    if name == "vgg":
        expected |= {"Conv2D": 16, "Relu": 18, "MaxPool": 5}
    else:
        expected |= {"Conv2D": 5, "Relu": 7, "MaxPool": 3, "LRN": 2}
    assert counts == expected


def test_gradient_sums_of_autoenc_are_of_the_layers_they_flow_into(exported):
    sums = {
        node.name.split("/")[1]
        for node in exported("autoenc", "training").graph.node
        if node.name.startswith("backward/") and node.name.split("/")[2] == "Add" and "loss" not in node.name
    }
    assert sums == {"encoder.softplus", "encoder.mean", "encoder.log_variance", "decoder.output"}


@pytest.mark.parametrize("name", ["residual", "vgg", "alexnet"])
def test_layouts_leave_no_transposes_of_their_own(exported, name):
    assert all(node.op_type != "Transpose" for node in exported(name, "inference").graph.node)
    own = [
        node.name
        for node in exported(name, "training").graph.node
        if node.op_type == "Transpose" and node.name.split("/")[2] not in ("Conv2DBackFilter", "Conv2DBackInput")
    ]
    assert own == []


def test_inference_of_residual_is_the_network_and_nothing_else(exported):
    nodes = exported("residual", "inference").graph.node
    counts = {kind: sum(node.op_type == kind for node in nodes) for kind in {node.op_type for node in nodes}}
    assert counts == {
        "Conv": 12,
        "BatchNormalization": 12,
        "Relu": 9,
        "MaxPool": 1,
        "Add": 4,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }
    for node in nodes:
        if node.op_type == "Conv":
            assert {a.name for a in node.attribute} >= {"kernel_shape", "pads", "strides", "dilations", "group"}


def test_phases_are_in_the_order_of_the_step(exported):
    phases = [node.name.split("/")[0] for node in exported("autoenc", "training").graph.node]
    assert phases == sorted(phases, key=["forward", "loss", "backward", "optimizer"].index)


def test_an_export_is_the_same_each_time(exported):
    again = EXPORTER.export(ExportRequest(workload("autoenc", "tiny"), "training"))
    assert again.SerializeToString(deterministic=True) == exported("autoenc", "training").SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize(
    ("name", "mode"), [("residual", "training"), ("autoenc", "training"), ("autoenc", "inference")]
)
def test_the_translation_is_tagged_and_static(name, mode):
    w = workload(name, "tiny")
    translated = translate(capture(w, TENSORFLOW.model(name), mode, "graph"))
    for node in translated.graph:
        tag = Tag.of(node)
        assert tag is not None
        assert tag.op in OPS
        assert node.op_type not in ("Identity", "Cast", "Shape")
        for value in node.outputs:
            assert value.shape is not None
            assert value.shape.is_static()
    private = [node.op_type for node in translated.graph if node.domain == DOMAIN]
    if name == "residual":
        counts = {kind: private.count(kind) for kind in set(private)}
        assert counts == {
            "BatchNormTraining": 12,
            "BatchNormGrad": 12,
            "Conv2DBackFilter": 12,
            "Conv2DBackInput": 11,
            "ReluGrad": 9,
            "MaxPoolGrad": 1,
            "CrossEntropy": 1,
        }
    else:
        assert private == []  # TensorFlow writes the gradient of softplus as a sigmoid and a product


# --- the package


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_an_export_prints_nothing():
    done = python(
        "from fathom_onnx.exporting import ExportRequest, find_exporter\n"
        "from fathom_onnx.workloads import workload\n"
        "w = workload('autoenc', 'tiny')\n"
        "exporter = find_exporter('tensorflow')\n"
        "exporter.export(ExportRequest(w, 'training'))\n"
        "inputs = {s.name: s.draw.sample(s.shape, s.dtype, __import__('numpy').random.default_rng(0))"
        " for s in w.interface('inference', 'input').inputs}\n"
        "exporter.reference(w, 'inference', 'float32').step(inputs)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_tensorflow_the_exporter_says_how_to_get_it():
    done = python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "from fathom_onnx.errors import MissingDependencyError\n"
        "from fathom_onnx.exporting import find_exporter\n"
        "try:\n    find_exporter('tensorflow')\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    assert "pip install 'fathom-onnx[tensorflow]'" in done.stdout
    assert "framework 'tensorflow'" in done.stdout


def test_the_tables_speak_the_vocabulary():
    assert set(CANONICAL_OF.values()) <= set(OPS)
    assert set(HANDLERS) <= set(CANONICAL_OF) | {"FusedBatchNormV3"}
    assert not MOVED_AWAY & set(CANONICAL_OF)
