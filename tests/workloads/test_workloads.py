"""The framework-neutral definitions: published sizes, interfaces, overrides, initial values."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.workloads import definition, names, workload
from fathom_onnx.workloads.config import settings
from fathom_onnx.workloads.contract import Adam, Initialiser


def test_published_sizes() -> None:
    # torchvision's resnet34 has 21,797,672 parameters; the autoencoder's count is by hand
    assert sum(p.elements for p in workload("residual").parameters) == 21_797_672
    weights = 784 * 500 + 2 * 500 * 200 + 200 * 500 + 500 * 784
    assert sum(p.elements for p in workload("autoenc").parameters) == weights + 500 + 200 + 200 + 500 + 784
    # torchvision's vgg19 and alexnet have the layers of ours
    assert sum(p.elements for p in workload("vgg").parameters) == 143_667_240
    assert sum(p.elements for p in workload("alexnet").parameters) == 61_100_840
    for name, count in (("vgg", 16), ("alexnet", 5)):
        for preset in definition(name).presets:
            assert [layer.kind for layer in workload(name, preset).layers].count("convolution") == count
    convolutions = [layer for layer in workload("residual").layers if layer.kind == "convolution"]
    projections = [layer for layer in convolutions if layer.name.endswith("projection")]
    assert (len(convolutions) - len(projections), len(projections)) == (33, 3)


@pytest.mark.parametrize("name", names())
def test_definitions_are_whole(name: str) -> None:
    about = definition(name)
    assert set(about.presets) >= {"paper", "small", "tiny"}
    assert about.fidelity
    assert about.papers
    for preset in about.presets:
        made = workload(name, preset)
        assert all(source for _, _, source in settings(made.config))
        layers = {layer.name for layer in made.layers}
        assert {v.layer for v in made.parameters + made.buffers} <= layers
        assert len(layers) == len(made.layers)


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name in names() for mode in workload(name, "tiny").modes])
def test_interfaces(name: str, mode: str) -> None:
    made = workload(name, "tiny")
    interface = made.interface(mode)
    every = [t.name for t in interface.inputs] + [t.name for t in interface.outputs]
    assert len(set(every)) == len(every)
    inputs = {t.name: t for t in interface.inputs}
    outputs = {t.name: t for t in interface.outputs}
    for output, source in interface.state:
        assert outputs[output].shape == inputs[source].shape
    with_noise = made.interface(mode, "input")
    assert len(with_noise.inputs) - len(interface.inputs) == len(made.noise.get(mode, ()))


def test_overrides() -> None:
    assert workload("residual", "small", {"batch": "7", "blocks": "1,1,1,1"}).config.blocks == (1, 1, 1, 1)
    assert workload("autoenc", "tiny", {"learning_rate": "0.5"}).optimizer.learning_rate == 0.5
    with pytest.raises(UnknownNameError, match="unknown workload 'residul'; did you mean 'residual'"):
        workload("residul")
    with pytest.raises(UnknownNameError, match="unknown preset 'papr'; did you mean 'paper'"):
        workload("residual", "papr")
    with pytest.raises(UnknownNameError, match="unknown field 'bach'; did you mean 'batch'"):
        workload("residual", "tiny", {"bach": 3})
    for value in ("many", "0", "-1"):
        with pytest.raises(UsageError, match="field 'batch' cannot be"):
            workload("residual", "tiny", {"batch": value})
    with pytest.raises(UsageError, match="image side 50 is not a multiple of 32"):
        workload("residual", "tiny", {"image": "50"})


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("vgg", "image", "50", "image side 50 is not a multiple of 32"),
        ("vgg", "dropout", "1", "dropout 1.0 keeps nothing"),
        ("alexnet", "image", "62", "image side 62 leaves nothing after convolution 5"),
        ("alexnet", "channels", "8,8", "channels has 2 values, not 5"),
        ("alexnet", "lrn_size", "4", "lrn_size 4 is even"),
        ("alexnet", "dropout", "1.5", r"dropout 1\.5 keeps nothing"),
    ],
)
def test_impossible_configurations(name: str, field: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        workload(name, "tiny", {field: value})


def test_the_smallest_image_of_alexnet_leaves_one_feature_a_channel() -> None:
    made = workload("alexnet", "tiny", {"image": "63"})
    assert {p.name: p.shape for p in made.parameters}["fc6.weight"] == (32, 16)


def test_dropout_is_drawn_in_training_only() -> None:
    for name in ("vgg", "alexnet"):
        made = workload(name, "tiny")
        assert set(made.noise) == {"training"}
        assert [(n.name, n.shape, n.distribution) for n in made.noise["training"]] == [
            ("dropout6.noise", (4, 32), "uniform"),
            ("dropout7.noise", (4, 32), "uniform"),
        ]


def test_initial_values_depend_on_seed_and_name_only() -> None:
    made = workload("autoenc", "tiny")
    first, again, other = (made.initial_values("training", seed) for seed in (0, 0, 1))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    weight = "encoder.hidden.weight"
    assert (first[weight] != other[weight]).any()
    np.testing.assert_array_equal(first[weight], made.initial_values("inference", 0)[weight])
    bound = np.sqrt(6 / sum(first[weight].shape))
    assert bound * 0.95 < np.abs(first[weight]).max() <= bound
    he = workload("residual", "small").initial_values("inference", 0)["layer4.2.conv2.weight"]
    assert list(first) == [v.name for v in made.variables("training")]
    assert abs(he.std() / np.sqrt(2 / (512 * 9)) - 1) < 0.01


def test_adam_by_hand() -> None:
    # first step with gradient 2: mhat = 2, vhat = 4, so the parameter moves by lr * 2 / (2 + eps)
    rule = Adam(0.1)
    new = {
        "adam.step.next": np.float32(1),
        "p.adam_m.next": np.array([0.1 * 2]),
        "p.adam_v.next": np.array([0.001 * 4]),
    }
    updated = rule.update("p", {"p": np.array([1.0])}, new)
    assert updated == pytest.approx([1 - 0.1 * 2 / (2 + 1e-8)], rel=1e-12)


def test_a_draw_around_a_centre_is_a_draw_that_is_moved() -> None:
    for kind in ("uniform", "normal"):
        about_zero = Initialiser(kind, 0.5).sample("p", (1000,), "float64", 3)
        moved = Initialiser(kind, 0.5, centre=-4.0).sample("p", (1000,), "float64", 3)
        np.testing.assert_allclose(moved, about_zero - 4, atol=1e-12)
    assert Initialiser("uniform", 0.5, centre=-4.0).label == "uniform around -4"
    assert Initialiser("normal", 0.5, zero_row=1, centre=2.5).label == "normal around 2.5, row 1 zero"


def test_a_centre_stays_in_the_metadata() -> None:
    made = workload("mamba", "tiny")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    GraphMetadata.of(made, "training", "torch", "1", "graph", "simulators").write(model)
    read = GraphMetadata.read(model)
    assert read is not None
    assert read.variables == made.variables("training")
    assert {v.name: v.initialiser.centre for v in read.variables}["layers.0.mixer.A_log"] == pytest.approx(np.log(4))
