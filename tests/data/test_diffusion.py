"""Images with steps of diffusion: their range, which photographs they are of, and the steps."""

from __future__ import annotations

import numpy as np
import pytest

from fathom_onnx.data import batches, batches_for
from fathom_onnx.data.images.photographs import photographs
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Draw, TensorSpec

IMAGES = TensorSpec("images", (64, 3, 8, 8))


def test_images_are_crops_in_both_signs() -> None:
    images = next(batches("diffusion", [IMAGES], 0))["images"]
    assert images.dtype == np.float32
    assert -1 <= images.min() < -0.8
    assert 0.8 < images.max() <= 1
    assert len({bytes(image) for image in images}) == 64


def test_the_mean_of_crops_is_that_of_both_photographs() -> None:
    (image,) = next(batches("diffusion", [TensorSpec("images", (1, 3, 64, 64))], 3)).values()
    pixels = (image[0].reshape(3, -1).T + 1) * 127.5
    # each is between the smallest and the largest of one photograph, and the means of many are near to those of both
    assert any((pixels >= p.min((0, 1)) - 1e-3).all() and (pixels <= p.max((0, 1)) + 1e-3).all() for p in photographs())
    images = next(batches("diffusion", [TensorSpec("images", (256, 3, 4, 4))], 0))["images"]
    everything = np.mean([p[40:-40, 40:-40].mean((0, 1)) for p in photographs()], 0) / 127.5 - 1
    np.testing.assert_allclose(images.mean((0, 2, 3)), everything, atol=0.15)


def test_every_step_comes_about_as_often() -> None:
    steps = TensorSpec("timesteps", (20_000,), "int64")
    found = next(batches("diffusion", [steps], 0, {"timesteps": Draw("integers", 0, 4)}))["timesteps"]
    assert found.dtype == np.int64
    # each of four in 20,000: the deviation of the share is 0.003
    np.testing.assert_allclose(np.bincount(found, minlength=4) / 20_000, 0.25, atol=0.015)


def test_without_a_bound_there_are_as_many_steps_as_in_the_paper() -> None:
    found = next(batches("diffusion", [TensorSpec("timesteps", (20_000,), "int64")], 0))["timesteps"]
    assert (found.min(), found.max()) == (0, 999)


def test_the_steps_of_a_workload_are_its_own() -> None:
    made = workload("unet", "tiny", {"steps": "3", "batch": "200"})
    assert set(next(batches_for(made, "training", 1))["timesteps"]) == {0, 1, 2}


def test_an_input_s_values_do_not_depend_on_the_other() -> None:
    steps = TensorSpec("timesteps", (64,), "int64")
    both = next(batches("diffusion", [IMAGES, steps], 5))
    for spec in (IMAGES, steps):
        alone = next(batches("diffusion", [spec], 5))
        np.testing.assert_array_equal(alone[spec.name], both[spec.name])
    assert not np.array_equal(next(batches("diffusion", [IMAGES], 6))["images"], both["images"])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"images": (4, 1, 8, 8)}, r"cannot fill images of shape \[4, 1, 8, 8\].*ask for \[batch, 3, side, side\]"),
        ({"images": (4, 3, 8, 4)}, r"cannot fill images of shape \[4, 3, 8, 4\]"),
        ({"images": (4, 3, 8, 8), "timesteps": (3,)}, r"4 images and steps \[3\]"),
        ({"images": (4, 3, 8, 8), "timesteps": (4, 1)}, r"4 images and steps \[4, 1\]"),
        ({"labels": (4, 2)}, "has no input 'labels'"),
        ({}, "asked for no input"),
    ],
)
def test_what_it_cannot_fill(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        batches("diffusion", [TensorSpec(name, shape) for name, shape in shapes.items()], 0)
