"""TensorFlow operations and their gradients, one small function each, against TensorFlow in double precision."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")

from support.graphs.of_functions.tensorflow import check_function  # noqa: E402

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def positive(*shape):
    return (RNG.random(shape) + 0.2).astype("float32")


def whole(below, *shape):
    return RNG.integers(0, below, shape).astype("int32")


def apart(*shape):
    """Values that differ by 0.1 or more, so that no comparison is close."""
    size = int(np.prod(shape))
    return (RNG.permutation(size).reshape(shape) / 10 - size / 20 + 0.03).astype("float32")


X = normal(4, 5)
IMAGE = normal(2, 7, 6, 4)
VOLUME = normal(2, 5, 4, 6, 2)


def like(x, values):
    return tf.constant(values, x.dtype)


def single(function):
    """For what TensorFlow computes in single precision only."""
    return lambda x: tf.cast(function(tf.cast(x, tf.float32)), x.dtype)


POINTWISE = {
    "elu": (tf.nn.elu, apart(4, 5)),
    "selu": (tf.nn.selu, apart(4, 5)),
    "leaky_relu": (lambda x: tf.nn.leaky_relu(x, 0.3), apart(4, 5)),
    "relu6": (lambda x: tf.nn.relu6(3 * x), apart(4, 5)),
    "softplus": (tf.nn.softplus, X),
    "softsign": (tf.nn.softsign, X),
    "silu": (tf.nn.silu, X),
    "gelu": (tf.nn.gelu, X),
    "erf": (tf.math.erf, X),
    "erfc": (tf.math.erfc, X),
    "expm1": (tf.math.expm1, np.array([[1e-4, -2e-3, 0.3, -0.7, 4.0]], "float32")),
    "sinh": (tf.math.sinh, X),
    "cosh": (tf.math.cosh, X),
    "tan": (tf.math.tan, X),
    "asin": (lambda x: tf.math.asin(x / 5), X),
    "acos": (lambda x: tf.math.acos(x / 5), X),
    "atan": (tf.math.atan, X),
    "asinh": (tf.math.asinh, X),
    "acosh": (lambda x: tf.math.acosh(x + 2), positive(4, 5)),
    "atanh": (lambda x: tf.math.atanh(x / 5), X),
    "lgamma": (tf.math.lgamma, np.array([[0.01, 0.4, 1.0, 1.7, 2.0], [3.3, 30.0, 900.0, -0.3, -2.6]], "float32")),
    "erfinv": (tf.math.erfinv, np.array([[0.0, 0.01, 0.5, -0.9, 0.99, -0.95]], "float32")),
    "reciprocal": (tf.math.reciprocal, positive(4, 5)),
    "rsqrt": (tf.math.rsqrt, positive(4, 5)),
    "clip": (lambda x: tf.clip_by_value(x, -0.31, 0.52), X),
    "rounded": (lambda x: x * tf.round(3 * x) + tf.math.ceil(x) * tf.floor(x) * x + tf.math.rint(x), X),
    "l2": (tf.nn.l2_loss, X),
    "cumsum": (lambda x: tf.cumsum(x, 1, exclusive=True, reverse=True) + tf.cumsum(x, 0), X),
    "cumprod": (lambda x: tf.math.cumprod(x, 1), positive(3, 4)),
    "prod": (lambda x: tf.reduce_prod(x, 1), positive(3, 4)),
    "logsumexp": (lambda x: tf.reduce_logsumexp(x, 1), X),
    "std": (lambda x: tf.math.reduce_std(x, 0), X),
    "norm": (lambda x: tf.norm(x, axis=1), X),
    "normalized": (lambda x: tf.math.l2_normalize(x, 1), X),
    "band": (lambda x: tf.linalg.band_part(x, 1, 0) + tf.linalg.band_part(x, -1, 2), X),
    "in_top_k": (
        lambda x: x * tf.cast(tf.math.in_top_k([3, 0, 1, 2], tf.cast(x, "float32"), 2), x.dtype)[:, None],
        apart(4, 5),
    ),
    "top_k": (lambda x: list(tf.math.top_k(x, 3)), apart(4, 5)),
    "sorted": (lambda x: tf.sort(x, 1, "DESCENDING"), apart(4, 5)),
    "roll": (lambda x: tf.roll(x, [1, -2], [0, 1]), X),
    "reverse": (lambda x: tf.reverse(x, [0, 1]), X),
    "diagonal": (lambda x: tf.linalg.diag_part(x) + tf.linalg.trace(x)[:, None], normal(3, 4, 4)),
    "of_diagonal": (lambda x: tf.linalg.diag(x), X),
    "with_diagonal": (lambda x: tf.linalg.set_diag(x, x[:, 0]), normal(3, 4, 4)[:, :, :4]),
    "finite": (lambda x: tf.where(tf.math.is_finite(tf.math.log(x)), x, tf.zeros_like(x)), X),
    "max_axes": (lambda x: tf.reduce_max(x, [0, 2]) + tf.reduce_min(x, [0, 2]), apart(2, 3, 4)),
    "diagonals": (
        lambda x: [tf.linalg.diag_part(x, k=k) for k in (0, 2, -1)] + [tf.linalg.diag_part(tf.transpose(x, [0, 2, 1]))],
        normal(2, 3, 5),
    ),
    "of_diagonals": (lambda x: [tf.linalg.diag(x, k=k) for k in (1, -2)], X),
    "of_wide": (lambda x: tf.linalg.diag(x, num_rows=5, num_cols=7), X),
    "with_diagonals": (lambda x: tf.linalg.set_diag(x, 2 * x[:, 0, :3], k=1), normal(2, 3, 5)),
    "einsum_trace": (lambda x: tf.einsum("bij->ibj", x), normal(2, 3, 4)),
    "eigen_free": (lambda x: tf.linalg.matvec(x, x[:, 0]), normal(3, 4, 4)),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_of_one_tensor(name):
    check_function(*POINTWISE[name])


BINARY = {
    "atan2": (tf.math.atan2, X, normal(4, 5)),
    "div_no_nan": (tf.math.divide_no_nan, X, np.where(X > 0.5, 0, X + 3).astype("float32")),
    "xlogy": (tf.math.xlogy, np.where(X > 0, X, 0).astype("float32"), positive(4, 5)),
    "xlog1py": (tf.math.xlog1py, np.where(X > 0, X, 0).astype("float32"), positive(4, 5)),
    "xdivy": (tf.math.xdivy, np.where(X > 0, X, 0).astype("float32"), positive(4, 5)),
    "floormod": (lambda x, y: tf.math.floormod(x, y), X, positive(4, 5)),
    "pow": (tf.pow, positive(4, 5), X),
    "squared_difference": (tf.math.squared_difference, X, normal(5)),
    "broadcast": (lambda x, y: x * y + y, X, normal(4, 1)),
    "maximum": (lambda x, y: tf.maximum(x, y) - tf.minimum(x, y), apart(4, 5), apart(4, 5)[::-1] + 0.05),
    "batched": (lambda x, y: tf.matmul(x, y, adjoint_a=True, adjoint_b=True), normal(2, 3, 4), normal(2, 5, 3)),
    "batched_wide": (lambda x, y: tf.matmul(x, y), normal(2, 3, 4), normal(4, 5)),
    "einsum": (lambda x, y: tf.einsum("bqhd,bkhd->bhqk", x, y), normal(2, 3, 4, 5), normal(2, 6, 4, 5)),
    "einsum_heads": (lambda x, y: tf.einsum("abc,cde->abde", x, y), normal(2, 3, 4), normal(4, 5, 2)),
    "einsum_dots": (lambda x, y: tf.einsum("...ij,jk->...ik", x, y), normal(2, 3, 4), normal(4, 5)),
    "einsum_outer": (lambda x, y: tf.einsum("i,j->ij", x, y), normal(3), normal(4)),
    "einsum_summed": (lambda x, y: tf.einsum("ija,jk->ik", x, y), normal(2, 3, 4), normal(3, 5)),
    "dot": (lambda x, y: tf.tensordot(x, y, [[1, 2], [0, 1]]), normal(2, 3, 4), normal(3, 4, 5)),
}


@pytest.mark.parametrize("name", BINARY)
def test_of_two_tensors(name):
    check_function(*BINARY[name])


def test_whole_numbers():
    x, y = np.array([-7, 7, -8, 8, 5], "int32"), np.array([3, -3, 4, 4, -2], "int32")
    check_function(lambda a, b: [a // b, a % b, tf.truncatediv(a, b), tf.math.maximum(a, b)], x, y, gradients=False)
    check_function(lambda a: [tf.one_hot(a, 3), tf.one_hot(a, 3, 5, 2, 0)], np.array([0, -1, 2, 3], "int32"))
    check_function(lambda a: [tf.reduce_any(a > 0, 1), tf.reduce_all(a > -9)], np.stack([x, y]))
    check_function(lambda a: tf.raw_ops.Bucketize(input=a, boundaries=[-7.0, 0.0, 6.5]), x)
    counted = {"size": 4, "weights": np.zeros(0, "float32"), "binary_output": False}
    check_function(lambda a: tf.raw_ops.DenseBincount(input=a, **counted), whole(4, 9))


MOVES = {
    "slice_backwards": lambda x: x[::-1, 3:0:-2],
    "slice_steps": lambda x: x[1::2, ::3],
    "slice_masks": lambda x: x[1, ..., tf.newaxis, :2] * 2 + tf.reduce_sum(x[-2, 1:-1]),
    "slice_negative": lambda x: x[-3:-1, -4::2],
    "slice_empty": lambda x: tf.concat([x[3:1, 1:2], x[:, 1:2]], 0),
    "slice_far": lambda x: x[-1:-4:-1, ...] + x[10:0:-1, :100],
    "slice_last": lambda x: x[::-2, -1],
    "slice_new": lambda x: tf.concat([x[..., None, 0], x[..., 1:2] * x[..., 2, None]], 1),
    "slice_inner": lambda x: tf.reshape(x, [2, 2, 5])[..., None, 1:-1:2] * 2 + x[0, 0],
    "slice_all": lambda x: tf.reshape(x, [2, 2, 5])[-1, None, ..., 3::-3],
    "slice_beside": lambda x: tf.reshape(x, [2, 2, 5])[..., tf.newaxis, :2] + tf.reshape(x, [2, 2, 5])[0, ..., :2],
    "gather": lambda x: tf.gather(x, [2, 0, 2], axis=1),
    "gather_batches": lambda x: tf.gather(tf.reshape(x, [2, 2, 5]), [[0, 1, 1], [1, 1, 0]], batch_dims=1),
    "gather_elements": lambda x: tf.gather(x, [[0, 1], [1, 4], [4, 2], [0, 0]], batch_dims=1, axis=1),
    "gather_far": lambda x: tf.gather(tf.reshape(x, [2, 2, 5]), [[0, 3], [4, 4]], batch_dims=1, axis=2),
    "gather_nd": lambda x: tf.gather_nd(x, [[0, 1], [3, 4], [0, 1]]) * tf.gather_nd(x, [[0], [2], [2]])[:, 0],
    "scatter_nd": lambda x: tf.scatter_nd([[1], [3], [1], [0]], x, [5, 5]),
    "scatter_deep": lambda x: tf.scatter_nd([[1, 0], [3, 2], [1, 0], [0, 1]], x, [4, 3, 5]),
    "scatter_update": lambda x: tf.tensor_scatter_nd_update(x, [[1], [3]], x[:2] * 3),
    "scatter_add": lambda x: tf.tensor_scatter_nd_add(x, [[1, 1], [3, 0], [1, 1]], x[:3, 0] * 3),
    "scatter_sub": lambda x: tf.tensor_scatter_nd_sub(x, [[1], [1]], x[:2] * 3),
    "segments": lambda x: tf.math.unsorted_segment_sum(x, [1, 0, 1, 2], 4),
    "segments_left_out": lambda x: tf.math.unsorted_segment_sum(x, [1, -1, 1, 2], 4),
    "segments_mean": lambda x: tf.math.unsorted_segment_mean(x, [1, 0, 1, 2], 3),
    "segments_max": lambda x: tf.math.unsorted_segment_max(x, [1, 0, 1, 2], 3),
    "segments_min": lambda x: tf.math.unsorted_segment_min(x, [1, 0, 1, 2], 3),
    "segments_of_pairs": lambda x: tf.math.unsorted_segment_sum(tf.reshape(x, [2, 2, 5]), [[1, 0], [1, 2]], 4),
    "reflected": lambda x: tf.pad(x, [[2, 1], [3, 0]], "REFLECT"),
    "mirrored": lambda x: tf.pad(x, [[2, 1], [3, 0]], "SYMMETRIC"),
    "padded": lambda x: tf.pad(x, [[2, 1], [0, 3]], constant_values=2.0),
    "repeated": lambda x: tf.repeat(x, 3, axis=1) + tf.repeat(tf.repeat(x[:, :1], 5, 1), 3, 1),
    "stacked": lambda x: tf.stack(tf.unstack(x, axis=1)[::2], 1),
    "split": lambda x: tf.concat(tf.split(x, [1, 4], 1)[::-1], 1),
    "blocks": lambda x: tf.space_to_batch(tf.reshape(x, [1, 4, 5, 1]), [2, 2], [[0, 0], [1, 0]]),
    "no_blocks": lambda x: tf.batch_to_space(tf.reshape(x, [4, 1, 5, 1]), [2, 2], [[0, 1], [1, 0]]),
    "masked": lambda x: tf.where(tf.sequence_mask([1, 3, 5, 0], 5), x, -1e9 * tf.ones_like(x) * 1e-9),
    "transposed": lambda x: tf.transpose(tf.reshape(x, [2, 2, 5]), [2, 0, 1]),
    "tiled": lambda x: tf.tile(x, [2, 3]),
    "band_of_ones": lambda x: x[:, :4] @ tf.linalg.band_part(tf.ones([4, 4], x.dtype), -1, 0),
    "meshed": lambda x: tf.stack(tf.meshgrid(x[0], x[:, 0]), -1),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    check_function(MOVES[name], apart(4, 5))


def at(x, *places):
    """Whole numbers that no folding knows: those of the largest elements of columns, plus what is given."""
    return [tf.argmax(x[:, 0], output_type=tf.int32) * 0 + place for place in places]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[at(x, 2)[0]] * 2 + x[at(x, -1)[0], :],
        lambda x: x[:, at(x, 3)[0], None] + x[..., at(x, -5)[0]][:, None],
        lambda x: tf.reshape(x, [2, 2, 5])[at(x, 1)[0], :, at(x, 2)[0]],
        lambda x: tf.slice(tf.stop_gradient(x), at(x, 1, 2), [2, 3]) + x[:2, :3],
    ],
)
def test_elements_where_a_tensor_says(function):
    check_function(function, apart(4, 5))


def test_bounds_and_signs_of_zeros():
    ordered, values = np.array([[1.0, 2.0, 2.0, 5.0]], "float32"), np.array([[2.0, 0.0, 9.0, 5.0]], "float32")
    for side in ("left", "right"):
        check_function(lambda a, b, s=side: tf.searchsorted(a, b, s), ordered, values, gradients=False)
    keras = pytest.importorskip("keras")
    zeros = np.array([[0.0, -0.0, 0.0], [-0.0, -1.0, 0.0], [2.0, -0.0, 2.0]], "float32")
    check_function(lambda a: keras.ops.argmax(tf.cast(a, tf.float32), -1), zeros, gradients=False)
    check_function(lambda a: keras.ops.signbit(tf.cast(a, tf.float32)), zeros, gradients=False)


@pytest.mark.parametrize("reduction", [tf.nn.softmax_cross_entropy_with_logits, None])
def test_cross_entropy(reduction):
    if reduction is None:
        check_function(
            lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(y, x), normal(2, 3, 5), whole(5, 2, 3)
        )
    else:
        check_function(lambda x: reduction(like(x, np.eye(5)[[1, 0, 4]]), x), normal(3, 5))


CONVOLUTIONS = {
    "same": (lambda x, w: tf.nn.conv2d(x, w, 2, "SAME"), IMAGE, normal(3, 3, 4, 5)),
    "same_even": (lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), IMAGE, normal(2, 4, 4, 5)),
    "valid": (lambda x, w: tf.nn.conv2d(x, w, [1, 2], "VALID"), IMAGE, normal(3, 2, 4, 5)),
    "explicit": (lambda x, w: tf.nn.conv2d(x, w, 2, [[0, 0], [1, 2], [0, 1], [0, 0]]), IMAGE, normal(3, 3, 4, 5)),
    "pointwise": (lambda x, w: tf.nn.conv2d(x, w, 2, "SAME"), IMAGE, normal(1, 1, 4, 5)),
    "depthwise": (lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"), IMAGE, normal(3, 3, 4, 2)),
    "depthwise_apart": (lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 2, 2, 1], "VALID"), IMAGE, normal(3, 3, 4, 1)),
    "depthwise_dilated": (
        lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME", dilations=[2, 2]),
        IMAGE,
        normal(3, 3, 4, 1),
    ),
    "separable": (
        lambda x, w: tf.nn.separable_conv2d(x, w, tf.ones([1, 1, 4, 3], x.dtype), [1, 1, 1, 1], "SAME"),
        IMAGE,
        normal(3, 3, 4, 1),
    ),
    "transposed": (
        lambda x, w: tf.nn.conv2d_transpose(x, w, [2, 14, 11, 3], 2, "SAME"),
        IMAGE,
        normal(3, 3, 3, 4),
    ),
    "transposed_valid": (
        lambda x, w: tf.nn.conv2d_transpose(x, w, [2, 15, 13, 3], 2, "VALID"),
        IMAGE,
        normal(3, 3, 3, 4),
    ),
    "lines": (lambda x, w: tf.nn.conv1d(x, w, 2, "SAME"), normal(2, 9, 3), normal(4, 3, 5)),
    "lines_dilated": (
        lambda x, w: tf.nn.convolution(x, w, padding="SAME", dilations=2), normal(2, 9, 3), normal(3, 3, 5)
    ),
    "volumes": (lambda x, w: tf.nn.conv3d(x, w, [1, 1, 2, 1, 1], "SAME"), VOLUME, normal(3, 2, 3, 2, 3)),
    "volumes_valid": (lambda x, w: tf.nn.conv3d(x, w, [1, 2, 1, 2, 1], "VALID"), VOLUME, normal(2, 3, 2, 2, 3)),
    "volumes_transposed": (
        lambda x, w: tf.nn.conv3d_transpose(x, w, [2, 10, 8, 12, 3], 2, "SAME"), VOLUME, normal(3, 3, 3, 3, 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    check_function(*CONVOLUTIONS[name])


@pytest.mark.parametrize("form", ["dilated", "grouped"])
def test_convolutions_whose_gradient_tensorflow_has_not_on_a_cpu(form):
    """Judged by the same convolution of gathered pixels, and of one group at a time."""
    x, w = normal(2, 9, 8, 4), normal(3, 3, 2 if form == "grouped" else 4, 6)

    def by_hand(x, w):
        if form == "grouped":
            parts = zip(tf.split(x, 2, 3), tf.split(w, 2, 3), strict=True)
            return tf.concat([tf.nn.conv2d(a, b, 2, "SAME") for a, b in parts], 3)
        taps = [tf.matmul(x[:, 2 * i : 2 * i + 5, 2 * j : 2 * j + 4], w[i, j]) for i in range(3) for j in range(3)]
        return tf.add_n(taps)

    def as_one(x, w):
        if x.dtype == tf.float64:
            return by_hand(x, w)
        return tf.nn.conv2d(x, w, 2, "SAME") if form == "grouped" else tf.nn.conv2d(x, w, 1, "VALID", dilations=2)

    check_function(as_one, x, w)


POOLS = {
    "max": lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"),
    "max_valid": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    "max_one": lambda x: tf.nn.max_pool2d(x, [2, 3], 1, "SAME"),
    "average": lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"),
    "average_valid": lambda x: tf.nn.avg_pool2d(x, [3, 2], [2, 3], "VALID"),
    "average_whole": lambda x: tf.nn.avg_pool2d(x, [7, 3], [7, 3], "VALID"),
    "average_one": lambda x: tf.nn.avg_pool2d(x, 3, 1, "SAME"),
    "lrn": single(lambda x: tf.nn.local_response_normalization(x, 2, 1.0, 0.3, 0.6)),
    "depth": lambda x: tf.nn.space_to_depth(tf.nn.depth_to_space(x, 2)[:, :12] ** 2, 3),
    "bilinear": lambda x: tf.compat.v1.image.resize_bilinear(x, [9, 11]),
    "bilinear_centers": lambda x: tf.compat.v1.image.resize_bilinear(x, [14, 5], half_pixel_centers=True),
    "bilinear_corners": lambda x: tf.compat.v1.image.resize_bilinear(x, [9, 11], align_corners=True),
    "nearest": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [14, 12]),
    "nearest_uneven": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [10, 4]),
    "nearest_centers": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [10, 4], half_pixel_centers=True),
    "nearest_corners": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, [10, 13], align_corners=True),
    "bicubic": single(lambda x: tf.compat.v1.image.resize_bicubic(x, [10, 4], half_pixel_centers=True)),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_and_resampling(name):
    check_function(POOLS[name], apart(2, 7, 6, 4), tolerance=5e-5)


def test_the_gradient_of_repeated_pixels_is_a_sum_of_blocks():
    model = check_function(lambda x: tf.image.resize(x, [14, 18], "nearest"), apart(2, 7, 6, 4))
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("Resize"), kinds.count("ReduceSum"), kinds.count("MatMul")) == (1, 1, 0)


VOLUMES = {
    "max": single(lambda x: tf.nn.max_pool3d(x, [2, 2, 3], 2, "SAME")),
    "average": single(lambda x: tf.nn.avg_pool3d(x, 2, [1, 2, 1], "SAME")),
    "average_whole": single(lambda x: tf.nn.avg_pool3d(x, [5, 2, 3], [5, 2, 3], "VALID")),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_pools_of_volumes(name):
    check_function(VOLUMES[name], apart(2, 5, 4, 6, 2))


@pytest.mark.parametrize("training", [True, False])
def test_fused_batch_normalisation(training):
    scale, offset, mean, variance = positive(4), normal(4), normal(4), positive(4)

    def normalised(x, scale, offset, mean, variance):
        if x.dtype == tf.float64:
            m, v = tf.nn.moments(x, [0, 1, 2]) if training else map(tf.stop_gradient, (mean, variance))
            y = (x - m) * tf.math.rsqrt(v + 0.01) * scale + offset
            n = x.shape.num_elements() // 4
            return [y, tf.stop_gradient(m), tf.stop_gradient(v * n / (n - 1))] if training else y
        given = () if training else (mean, variance)
        y, m, v = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, *given, epsilon=0.01, is_training=training)
        return [y, tf.stop_gradient(m), tf.stop_gradient(v)] if training else y

    check_function(normalised, IMAGE, scale, offset, mean, variance, tolerance=1e-4)
