"""Operations on images and their gradients, recorded and translated, against PyTorch in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from fathom_exporters.torch.translate.images import IMAGES, separable
from fathom_onnx.errors import ExportError
from support.recorded import PURPOSES, check, drawn

pytestmark = pytest.mark.slow

ONE = ("simulators",)
"""For operations whose form is the same for every purpose."""
SIDES = (1, 2, 3)


def of_sides(name: str, sides: int, **options: Any) -> Callable[..., Any]:
    """A function of torch.nn.functional with one, two or three sides."""
    return functools.partial(getattr(F, f"{name}{sides}d"), **options)


def image(sides: int, size: int = 7, channels: int = 3) -> torch.Tensor:
    return drawn(2, channels, *[size + side for side in range(sides)])


# ---- convolutions


@pytest.mark.parametrize(
    ("sides", "filters", "options"),
    [
        (1, (6, 2, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
        (2, (8, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 4}),
        (2, (4, 4, 4, 3), {"padding": "same"}),
        (3, (6, 2, 3, 3, 3), {"stride": (1, 2, 2), "padding": 1, "groups": 2}),
    ],
)
def test_convolutions(sides, filters, options) -> None:
    check(of_sides("conv", sides, **options), image(sides, channels=4), drawn(*filters), drawn(filters[0]))


def test_a_convolution_without_a_batch() -> None:
    check(lambda x, w: F.conv1d(x, w, None, 2, 1), drawn(4, 9), drawn(6, 4, 3))


@pytest.mark.parametrize(
    ("sides", "filters", "options"),
    [
        (1, (4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        (2, (4, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "dilation": 2}),
        (2, (4, 3, 3, 3), {"padding": 1, "output_padding": 1, "dilation": 2}),  # more of it than the stride
        (3, (4, 3, 3, 2, 3), {"stride": 2}),
    ],
)
def test_transposed_convolutions(sides, filters, options) -> None:
    check(of_sides("conv_transpose", sides, **options), image(sides, 4, 4), drawn(*filters))


@st.composite
def a_convolution(draw) -> tuple[Callable[..., Any], tuple[torch.Tensor, ...]]:
    """A convolution or a transposed one, of any sides and groups, with its image and filter."""
    sides = draw(st.integers(1, 3))

    def numbers(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(sides))

    kernel, stride, dilation, padding = numbers(1, 3), numbers(1, 3), numbers(1, 2), numbers(0, 1)
    group, inputs, outputs = (draw(st.integers(1, 2)) for _ in range(3))
    size = [(k - 1) * d + 1 + extra for k, d, extra in zip(kernel, dilation, numbers(0, 3), strict=True)]
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": group}
    x = drawn(2, group * inputs, *size)
    if draw(st.booleans()):
        options["output_padding"] = tuple(draw(st.integers(0, s - 1)) for s in stride)
        return of_sides("conv_transpose", sides, **options), (x, drawn(group * inputs, outputs, *kernel))
    return of_sides("conv", sides, **options), (x, drawn(group * outputs, inputs, *kernel))


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=a_convolution(), purpose=st.sampled_from(PURPOSES))
def test_any_convolution(chosen, purpose) -> None:
    function, tensors = chosen
    try:
        function(*(tensor.double() for tensor in tensors))
    except RuntimeError:  # PyTorch refuses an output without elements, in float32 not always
        return
    check(function, *tensors, purposes=(purpose,), limit=5e-6)


def test_a_transposed_convolution_whose_padding_removes_all_that_its_input_reaches_has_gradients_of_zero() -> None:
    check(lambda x, w: F.conv_transpose2d(x, w, None, (3, 1), 1, (2, 0)), drawn(2, 1, 1, 3), drawn(1, 2, 1, 3))


def test_output_padding_that_onnx_has_no_form_for_is_refused() -> None:
    with pytest.raises(ExportError, match="output_padding of a stride or more than the padding has no form in ONNX"):
        check(lambda x, w: F.conv_transpose1d(x, w, None, 1, 0, 1, 1, 2), drawn(1, 2, 4), drawn(2, 1, 3))


# ---- pools


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True},
        {"kernel_size": 2, "stride": 3, "padding": 1, "dilation": 3, "ceil_mode": True, "return_indices": True},
    ],
)
def test_max_pools(sides, options) -> None:
    check(of_sides("max_pool", sides, **options), image(sides))


@pytest.mark.parametrize("sides", SIDES)
def test_max_unpools(sides) -> None:
    def there_and_back(x: torch.Tensor) -> torch.Tensor:
        return of_sides("max_unpool", sides)(*of_sides("max_pool", sides)(x, 2, return_indices=True), 2)

    check(there_and_back, drawn(2, 3, *[6] * sides), purposes=ONE)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False},
        {"kernel_size": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1},
    ],
)
def test_average_pools(sides, options) -> None:
    check(of_sides("avg_pool", sides, **options), image(sides), purposes=ONE)


def test_average_pools_of_windows_side_by_side_and_with_a_divisor() -> None:
    check(lambda x: F.avg_pool2d(x, 2), drawn(2, 3, 6, 8), purposes=ONE)
    check(lambda x: F.avg_pool3d(x, 3, 2, 1, divisor_override=5), image(3), purposes=ONE)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("size", [1, 3, 5])
def test_adaptive_pools(sides, size) -> None:
    check(of_sides("adaptive_avg_pool", sides, output_size=size), image(sides), purposes=ONE)
    check(of_sides("adaptive_max_pool", sides, output_size=size, return_indices=True), image(sides), purposes=ONE)


def test_adaptive_pools_of_equal_windows() -> None:
    check(lambda x: F.adaptive_avg_pool2d(x, (3, 2)), drawn(2, 3, 6, 8), purposes=ONE)
    check(lambda x: F.adaptive_max_pool2d(x, (3, 2), True), drawn(2, 3, 6, 8))


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2, return_indices=True), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(3)],
)
def test_pools_without_a_batch(pool) -> None:
    check(pool, drawn(3, 8, 8), purposes=ONE)


@pytest.mark.parametrize("sides", SIDES)
def test_power_average_pools(sides) -> None:
    check(of_sides("lp_pool", sides, norm_type=2, kernel_size=3, stride=2), image(sides), purposes=ONE)


# ---- resampling

MODES = {1: ("nearest", "nearest-exact", "linear"), 2: ("bilinear", "bicubic", "nearest"), 3: ("trilinear", "nearest")}


@pytest.mark.parametrize(("sides", "mode"), [(sides, mode) for sides in SIDES for mode in MODES[sides]])
@pytest.mark.parametrize("options", [{"size": 11}, {"scale_factor": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.6}])
def test_resampling(sides, mode, options) -> None:
    for corners in (None,) if "nearest" in mode else (False, True):
        check(
            lambda x, c=corners: F.interpolate(x, mode=mode, align_corners=c, **options), image(sides, 4), purposes=ONE
        )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resampling_against_aliasing(mode) -> None:
    check(lambda x: F.interpolate(x, (5, 4), mode=mode, antialias=True), drawn(2, 3, 9, 9), purposes=ONE)


def test_the_forms_of_resampling() -> None:
    (by_two,) = check(lambda x: F.interpolate(x, scale_factor=2), drawn(1, 2, 4, 4), purposes=ONE)
    kinds = [node.op_type for node in by_two.graph.node]
    assert (kinds.count("Resize"), kinds.count("ReduceSum"), kinds.count("MatMul")) == (1, 1, 0)
    (uneven,) = check(lambda x: F.interpolate(x, size=(7, 4)), drawn(1, 2, 5, 4), purposes=ONE)
    kinds = [node.op_type for node in uneven.graph.node]
    assert (kinds.count("Gather"), kinds.count("MatMul"), kinds.count("Resize")) == (1, 1, 0)


def test_a_matrix_that_is_wrong_is_found(monkeypatch) -> None:
    """What these tests must be able to find: a gradient whose first weight is off by a thousandth."""
    right = separable.matrix_of

    def wrong(function, size):
        matrix = right(function, size).copy()
        matrix[0, 0] *= 1.001
        return matrix

    monkeypatch.setattr("fathom_exporters.torch.translate.images.resampling.matrix_of", wrong)
    with pytest.raises(AssertionError, match="output 1"):
        check(lambda x: F.interpolate(x, scale_factor=2, mode="linear"), drawn(1, 1, 4), purposes=ONE)


@pytest.mark.parametrize("module", [nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.ChannelShuffle(2)])
def test_rearranged_elements(module) -> None:
    check(module, drawn(2, 8, 4, 6), purposes=ONE)


# ---- borders, windows and grids


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(1, 2), (2, -1)])
def test_borders(sides, mode, padding) -> None:
    check(lambda x: F.pad(x, padding * sides, mode), image(sides, 5), purposes=ONE)


def test_zeros_around_an_image_are_cut_off_of_the_gradient() -> None:
    (model,) = check(lambda x: F.pad(x, (1, 2, 0, 3)), drawn(1, 2, 4, 5), purposes=ONE)
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("Pad"), kinds.count("Slice")) == (1, 1)


def test_a_convolution_with_a_circular_border() -> None:
    check(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), image(2), purposes=ONE)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Unfold((3, 2), padding=1, stride=2, dilation=(1, 2)), (2, 2, 7, 6)),
        (nn.Unfold(2, stride=2), (2, 2, 6, 6)),
        (nn.Fold((6, 6), 3, padding=1, stride=2), (2, 18, 9)),
    ],
)
def test_windows_as_columns(module, shape) -> None:
    check(module, drawn(*shape), purposes=ONE)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("border", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_samples_at_the_positions_of_a_grid(mode, border, corners) -> None:
    sampled = functools.partial(F.grid_sample, mode=mode, padding_mode=border, align_corners=corners)
    check(lambda x, grid: sampled(x, 1.5 * grid), drawn(2, 2, 5, 6), drawn(2, 4, 3, 2), purposes=ONE)
    check(sampled, drawn(2, 2, 5, 6, 4), drawn(2, 4, 3, 2, 3), purposes=ONE)


def test_the_gradient_of_bicubic_samples_is_refused() -> None:
    with pytest.raises(ExportError, match="gradient of a bicubic grid_sample has no form; use mode='bilinear'"):
        check(lambda x, grid: F.grid_sample(x, grid, "bicubic"), drawn(1, 1, 4, 4), drawn(1, 2, 2, 2), purposes=ONE)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 4, 5, 1)])
@pytest.mark.parametrize("corners", [False, True])
def test_affine_grids(size, corners) -> None:
    sides = len(size) - 2
    check(lambda t: F.affine_grid(t, size, align_corners=corners), drawn(2, sides, sides + 1), purposes=ONE)


# ---- normalisation


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("kind", ["BatchNorm", "InstanceNorm"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_norms_by_channel(sides, kind, training, affine) -> None:
    module = getattr(nn, f"{kind}{sides}d")(3, affine=affine, track_running_stats=True).train(training)
    with torch.no_grad():
        module.running_mean.copy_(drawn(3))
        module.running_var.copy_(drawn(3, low=0.5))
    check(module, image(sides, 4), purposes=ONE)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.BatchNorm1d(3), (5, 3)),
        (nn.BatchNorm1d(3).eval(), (5, 3)),
        (nn.BatchNorm1d(3, track_running_stats=False).eval(), (5, 3)),
        (nn.InstanceNorm2d(3), (2, 3, 4, 4)),
        (nn.GroupNorm(3, 6), (5, 6)),
        (nn.GroupNorm(3, 6), (2, 6, 4)),
        (nn.GroupNorm(2, 6, affine=False), (2, 6, 3, 4)),
        (nn.GroupNorm(6, 6), (2, 6, 3, 2, 2)),
        (nn.LayerNorm(6), (5, 6)),
        (nn.LayerNorm((4, 6), bias=False), (5, 3, 4, 6)),
        (nn.LayerNorm((4, 6), elementwise_affine=False), (5, 4, 6)),
        (nn.RMSNorm(6), (5, 6)),
        (nn.LocalResponseNorm(3), (2, 4, 5)),
        (nn.LocalResponseNorm(4, 0.1), (2, 5, 3, 4)),
        (nn.LocalResponseNorm(3), (2, 4, 3, 2, 3)),
    ],
)
def test_norms(module, shape) -> None:
    check(module, drawn(*shape), purposes=ONE)


def test_every_operation_on_images_has_a_canonical_op() -> None:
    from fathom_exporters.torch.aten import ATEN

    names = {str(target).removeprefix("aten.").partition(".")[0] for target in IMAGES}
    assert names - set(ATEN) == {"convolution_backward"}  # it is several
