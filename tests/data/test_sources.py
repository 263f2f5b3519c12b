"""The data sources: exact layout, determinism, and errors that name the source and the fix."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fathom_onnx.data import SOURCES, batches, batches_for, batches_for_graph, source_for_graph, workload_of
from fathom_onnx.data.contract import endless_shuffle, generator
from fathom_onnx.data.images.digits import digits
from fathom_onnx.data.images.photographs import DEVIATION, MEAN, photographs
from fathom_onnx.data.synthetic import default_draw
from fathom_onnx.errors import DataError, UnknownNameError
from fathom_onnx.graph import GraphMetadata, from_model
from fathom_onnx.workloads import names, workload
from fathom_onnx.workloads.contract import Draw, TensorSpec


@dataclass(frozen=True)
class Requested:
    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


def first(source: str, *specs: Requested | TensorSpec, seed: int = 0) -> dict[str, np.ndarray]:
    return next(batches(source, specs, seed))


# the table


def test_every_row_stands_under_its_own_name_and_says_what_it_is() -> None:
    assert {"digits", "photographs", "synthetic"} <= set(SOURCES)
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.kind in ("real", "simulated", "synthetic")
        assert len(source.description) > 20
        assert "\n" not in source.description


def test_every_workload_names_a_source_that_feeds_it_in_its_modes() -> None:
    every = [workload(name, "tiny") for name in names()]
    for made, mode in [(one, mode) for one in every for mode in one.modes]:
        batch = next(batches_for(made, mode, seed=3))
        assert {k: (v.shape, str(v.dtype)) for k, v in batch.items()} == {
            s.name: (s.shape, s.dtype) for s in made.batch_inputs(mode)
        }
        assert all(np.isfinite(v).all() for v in batch.values())


def test_an_unknown_source_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data source 'digit'; did you mean 'digits'"):
        first("digit", Requested("images", (2, 196)))


def test_a_seed_gives_the_same_batches_and_another_seed_others() -> None:
    specs = (Requested("images", (4, 3, 16, 16)), Requested("labels", (4, 5)))
    for source, wanted in (("digits", (Requested("images", (4, 196)),)), ("photographs", specs), ("synthetic", specs)):
        one = list(itertools.islice(batches(source, wanted, 7), 3))
        again = list(itertools.islice(batches(source, wanted, 7), 3))
        other = next(batches(source, wanted, 8))
        for a, b in zip(one, again, strict=True):
            assert a.keys() == b.keys()
            assert all((a[k] == b[k]).all() for k in a)
        assert not np.array_equal(one[0]["images"], other["images"])
        assert not np.array_equal(one[0]["images"], one[1]["images"])


# digits


def test_digits_fill_the_inner_box_of_the_field_as_in_mnist() -> None:
    for side, box, before in ((28, 20, 4), (14, 10, 2)):
        pool = digits(side)
        assert pool.shape == (1797, side, side)
        assert pool.dtype == np.float32
        inside = np.zeros((side, side), bool)
        inside[before : before + box, before : before + box] = True
        assert (pool[:, ~inside] == 0).all()
        assert pool[:, inside].max() == 1.0
        assert pool.min() == 0.0


def test_an_8x8_box_keeps_the_recorded_grey_levels() -> None:
    from sklearn.datasets import load_digits

    pool = digits(11)  # 20/28 of 11 rounds to 8: no interpolation is left
    np.testing.assert_allclose(pool[:, 1:9, 1:9], load_digits().images / 16.0, atol=1e-6)


def test_grey_pixels_leave_the_bernoulli_loss_room_to_fall_by_more_than_half() -> None:
    """The entropy of the pixels is the least the loss can be; pixels * ln 2 is what it is at the start."""
    for side in (14, 28):
        x = digits(side).astype(np.float64)
        safe = np.clip(x, 1e-12, 1 - 1e-12)
        floor = -(safe * np.log(safe) + (1 - safe) * np.log(1 - safe)).sum((1, 2)).mean()
        assert 0.1 < floor / (side * side * math.log(2)) < 0.25


def test_every_digit_comes_once_before_any_comes_again() -> None:
    stream = batches("digits", [Requested("images", (599, 196))], 0)
    epoch = np.concatenate([b["images"] for b in itertools.islice(stream, 3)])
    pool = digits(14).reshape(1797, 196)
    assert sorted(map(bytes, epoch)) == sorted(map(bytes, pool))
    assert not np.array_equal(epoch, pool)
    assert not np.array_equal(next(stream)["images"], epoch[:599])


def test_digits_come_flat_or_as_planes() -> None:
    flat = first("digits", Requested("images", (3, 196)))["images"]
    planes = first("digits", Requested("images", (3, 1, 14, 14), "float64"))["images"]
    assert planes.dtype == np.float64
    np.testing.assert_array_equal(planes.reshape(3, 196), flat)


@pytest.mark.parametrize("shape", [(8, 200), (8,), (8, 3, 14, 14), (8, 0), (8, 7, 28)])
def test_digits_refuse_what_is_not_one_square_plane(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"'digits' cannot fill images of shape .*; ask for square images"):
        first("digits", Requested("images", shape))


def test_the_shared_pools_cannot_be_changed_by_a_batch() -> None:
    first("digits", Requested("images", (3, 196)))["images"][:] = 5
    assert digits(14).max() == 1.0
    with pytest.raises(ValueError, match="read-only"):
        digits(14)[0, 0, 0] = 1


# photographs


def test_crops_are_normalised_pixels_and_the_label_is_the_photograph() -> None:
    assert [p.shape for p in photographs()] == [(427, 640, 3)] * 2
    batch = first("photographs", Requested("images", (64, 3, 32, 32)), Requested("labels", (64, 10)))
    low = [-m / d for m, d in zip(MEAN, DEVIATION, strict=True)]
    high = [(1 - m) / d for m, d in zip(MEAN, DEVIATION, strict=True)]
    for channel in range(3):
        assert batch["images"][:, channel].min() >= low[channel] - 1e-5
        assert batch["images"][:, channel].max() <= high[channel] + 1e-5
    assert set(np.unique(batch["labels"])) == {0.0, 1.0}
    assert (batch["labels"].sum(1) == 1).all()
    assert set(batch["labels"].argmax(1)) == {0, 1}
    assert len({bytes(image) for image in batch["images"]}) == 64


def test_labels_tell_the_photographs_apart() -> None:
    """The flower is red where the temple is blue: channel means alone separate most crops."""
    batch = first("photographs", Requested("images", (200, 3, 16, 16)), Requested("labels", (200, 2)))
    blue_over_red = (batch["images"][:, 2] - batch["images"][:, 0]).mean((1, 2))
    china = batch["labels"].argmax(1) == 0
    assert np.mean(blue_over_red[china]) > np.mean(blue_over_red[~china]) + 0.5


def test_inference_sees_the_images_of_training() -> None:
    images = Requested("images", (4, 3, 16, 16))
    both = first("photographs", images, Requested("labels", (4, 10)))
    np.testing.assert_array_equal(first("photographs", images)["images"], both["images"])
    np.testing.assert_array_equal(first("photographs", Requested("labels", (4, 10)))["labels"], both["labels"])


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([Requested("images", (4, 1, 16, 16))], r"ask for \[batch, 3, side, side\]"),
        ([Requested("images", (4, 3, 16, 8))], r"cannot fill images of shape \[4, 3, 16, 8\]"),
        ([Requested("labels", (4, 1))], "with 2 classes or more"),
        ([Requested("images", (4, 3, 16, 16)), Requested("labels", (3, 2))], "4 images and 3 labels"),
        ([Requested("stories", (4, 3))], "has no input 'stories' .*use the source 'synthetic'"),
        ([], "asked for no input"),
    ],
)
def test_photographs_say_what_they_cannot_fill(specs: list[Requested], message: str) -> None:
    with pytest.raises(DataError, match=message):
        batches("photographs", specs, 0)


# synthetic


def test_synthetic_values_follow_the_draw_or_else_the_type() -> None:
    specs = [
        Requested("a", (500,)),
        Requested("b", (500,), "int64"),
        Requested("c", (500,)),
        Requested("d", (50,), "bool"),
    ]
    batch = next(batches("synthetic", specs, 0, {"c": Draw("uniform", 3.0, 4.0)}))
    assert abs(batch["a"].mean()) < 0.2
    assert 0.8 < batch["a"].std() < 1.2
    assert set(batch["b"]) == {0, 1}
    assert batch["b"].dtype == np.int64
    assert batch["c"].min() >= 3.0
    assert batch["c"].max() <= 4.0
    assert batch["d"].dtype == bool


def test_an_inputs_values_do_not_depend_on_the_other_inputs() -> None:
    a, b = Requested("a", (5,)), Requested("b", (7,))
    np.testing.assert_array_equal(first("synthetic", a)["a"], first("synthetic", b, a)["a"])


@pytest.mark.parametrize("dtype", ["object", "", "no such type", "complex64"])
def test_a_type_without_numbers_cannot_be_drawn(dtype: str) -> None:
    with pytest.raises(DataError, match="no values can be drawn"):
        default_draw(dtype)


@given(count=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_an_order_is_a_permutation_again_and_again(count: int, seed: int) -> None:
    taken = list(itertools.islice(endless_shuffle(count, generator(seed, "test")), 3 * count))
    for epoch in (taken[:count], taken[count : 2 * count], taken[2 * count :]):
        assert sorted(epoch) == list(range(count))


# workloads and graphs


def our_graph(noise: str = "graph", batch: int = 8, config_batch: int = 8) -> onnx.ModelProto:
    """A stand-in for an exported autoenc: its inputs and metadata are real, its one node is not."""
    made = workload("autoenc", "tiny", {"batch": config_batch})
    shapes = {"images": (batch, 196)} | ({"noise": (batch, 6)} if noise == "input" else {})
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    weight = helper.make_tensor_value_info("encoder.hidden.weight", TensorProto.FLOAT, (32, 196))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, 196))
    graph = helper.make_graph(
        [helper.make_node("Neg", ["images"], ["y"], "forward/x/Neg")], "g", [*inputs, weight], [out]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    GraphMetadata.of(made, "inference", "torch", "0", noise, "simulators").write(model)
    return model


def test_a_graph_is_fed_as_its_workload_is_without_its_parameters() -> None:
    graph = from_model(our_graph(), "autoenc")
    assert source_for_graph(graph) is SOURCES["digits"]
    batch = next(batches_for_graph(graph, seed=5))
    assert list(batch) == ["images"]
    expected = next(batches_for(workload("autoenc", "tiny"), "inference", seed=5))
    np.testing.assert_array_equal(batch["images"], expected["images"])


def test_noise_that_is_an_input_is_drawn_and_changes_with_every_batch() -> None:
    stream = batches_for_graph(from_model(our_graph("input"), "autoenc"), seed=5)
    one, two = next(stream), next(stream)
    assert one["noise"].shape == (8, 6)
    assert not np.array_equal(one["noise"], two["noise"])
    expected = next(batches_for(workload("autoenc", "tiny"), "inference", 5, noise="input"))
    np.testing.assert_array_equal(one["noise"], expected["noise"])


def test_the_configuration_of_a_graph_is_its_own_and_not_the_presets() -> None:
    graph = from_model(our_graph(batch=3, config_batch=3), "autoenc")
    made = workload_of(graph)
    assert made == workload("autoenc", "tiny", {"batch": 3})
    assert next(batches_for_graph(graph, 0))["images"].shape == (3, 196)


def test_a_tuple_in_the_configuration_survives_json() -> None:
    made = workload("residual", "tiny")
    model = our_graph()
    GraphMetadata.of(made, "inference", "torch", "0", "graph", "simulators").write(model)
    assert workload_of(from_model(model, "residual")).config == made.config


def test_a_graph_whose_shapes_are_not_its_workloads_is_refused() -> None:
    graph = from_model(our_graph(batch=4, config_batch=8), "autoenc")
    with pytest.raises(
        DataError, match=r"'images' of graph 'autoenc' is float32 \[4, 196\]; workload 'autoenc' has .*8"
    ):
        batches_for_graph(graph, 0)


def test_another_source_can_be_named_for_a_graph() -> None:
    graph = from_model(our_graph(), "autoenc")
    drawn = next(batches_for_graph(graph, 0, source="synthetic"))["images"]
    assert drawn.shape == (8, 196)
    assert (drawn > 0).all()  # the workload draws its images between 0 and 1
    with pytest.raises(DataError, match="photographs"):
        batches_for_graph(graph, 0, source="photographs")


def test_a_graph_that_is_not_ours_gets_drawn_values() -> None:
    model = our_graph()
    del model.metadata_props[:]
    graph = from_model(model, "other")
    assert source_for_graph(graph) is SOURCES["synthetic"]
    assert {k: v.shape for k, v in next(batches_for_graph(graph, 0)).items()} == {
        "images": (8, 196),
        "encoder.hidden.weight": (32, 196),
    }


def test_a_graph_from_a_source_that_is_not_here_names_it() -> None:
    model = our_graph()
    graph = from_model(model, "autoenc")
    graph.metadata = replace(graph.metadata, data="mnist")
    with pytest.raises(UnknownNameError, match="unknown data source 'mnist'"):
        source_for_graph(graph)
