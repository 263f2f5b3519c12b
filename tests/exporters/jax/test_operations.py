"""Primitives of JAX as graphs: results and derivatives as JAX has them in double precision."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("onnxruntime")

import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

from support.graphs.of_functions.jax import check_function  # noqa: E402

RNG = np.random.default_rng(0)


def normal(*shape, low=None):
    x = RNG.normal(size=shape).astype("float32")
    return x if low is None else np.abs(x) + np.float32(low)


X, IMAGE = normal(3, 4), normal(2, 3, 6, 6)
IDS = np.array([[2, 0, 4], [4, 1, 2]])

POINTWISE = {
    "abs": jnp.abs,
    "acos": lambda x: jnp.arccos(x / 4),
    "asinh": jnp.arcsinh,
    "atan": jnp.arctan,
    "cbrt": jnp.cbrt,
    "ceil": lambda x: x + jnp.ceil(x),
    "cos": jnp.cos,
    "cosh": jnp.cosh,
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "erf_inv": lambda x: jax.scipy.special.erfinv(x / 4),
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": lambda x: jnp.expm1(x * 1e-3),
    "floor": lambda x: x + jnp.floor(x),
    "integer_pow": lambda x: x**3 + x**-1 + x**2,
    "is_finite": lambda x: jnp.where(jnp.isfinite(x), x, 0.0),
    "log": lambda x: jnp.log(x * x + 1),
    "log1p": lambda x: jnp.log1p(jnp.abs(x) * 1e-6),
    "logistic": lax.logistic,
    "neg": lambda x: -x,
    "pow": lambda x: jnp.abs(x) ** 1.7,
    "pow_of_whole_numbers": lambda x: lax.pow(x, jnp.arange(-6, 6, dtype="int32").reshape(3, 4) // 2),
    "pow_of_computed_whole_numbers": lambda x: lax.pow(x, 2 + jnp.sign(x).astype("int32")),
    "reciprocal": lambda x: 1 / x,
    "rem": lambda x: lax.rem(x, jnp.full_like(x, 0.5)),
    "remainder": lambda x: x % 0.7,
    "round_even": lambda x: x + jnp.round(x),
    "rsqrt": lambda x: lax.rsqrt(x * x + 1),
    "select": lambda x: jnp.where(x > 0.3, x, 2 * x),
    "select_of_three": lambda x: lax.select_n((x > 0).astype("int32") + (x > 1).astype("int32"), x, 2 * x, 3 * x),
    "sign": lambda x: jnp.sign(x) * x,
    "sin": jnp.sin,
    "sinh": jnp.sinh,
    "square": jnp.square,
    "tan": jnp.tan,
    "tanh": jnp.tanh,
    "clamp": lambda x: jnp.clip(x, -0.5, 0.6),
    "logical": lambda x: jnp.where((x > 0) & ~(x > 1) | (x < -1) ^ (x < -2), x, 0.0),
    "compare": lambda x: jnp.where((x != 0) & (x >= -1) & (x <= 1), x, 0.5 * x),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise(name):
    check_function(POINTWISE[name], X, purposes=("simulators",))


MOVES = {
    "broadcast": lambda x: jnp.broadcast_to(x[:, None], (3, 2, 4)) * 2,
    "broadcast_out": lambda x: jnp.broadcast_to(x[:, None], (3, 2, 4)),
    "concatenate": lambda x: jnp.concatenate([x, 2 * x, x[:1]]),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "diagonal": lambda x: jnp.diagonal(x),
    "dilated_pad": lambda x: lax.pad(x, np.asarray(0, x.dtype), ((1, 2, 1), (0, 0, 2))),
    "flip": lambda x: x[::-1, ::-1] * jnp.arange(4.0, dtype=x.dtype),
    "iota": lambda x: x * lax.broadcasted_iota(x.dtype, (3, 4), 0),
    "max": lambda x: x.max(1),
    "mean": lambda x: x.mean(0),
    "mean_kept": lambda x: x - x.mean(1, keepdims=True),
    "min": lambda x: x.min(0),
    "negative_pad": lambda x: lax.pad(x, np.asarray(0, x.dtype), ((-1, 1, 0), (1, -2, 0))),
    "pad": lambda x: jnp.pad(x, ((1, 0), (2, 1)), constant_values=1.5),
    "pieces": lambda x: jnp.split(x, [1, 3], axis=1),
    "prod": lambda x: jnp.prod(x, 1),
    "repeat": lambda x: jnp.repeat(x, 3, axis=0),
    "reshape": lambda x: x.reshape(2, 6) ** 2,
    "reshape_of_repeated": lambda x: jnp.broadcast_to(x[:1, None], (3, 2, 4)).reshape(6, 4) * 3,
    "roll": lambda x: jnp.roll(x, 1, 0),
    "softmax": jax.nn.softmax,
    "sort": lambda x: jnp.sort(x, 1),
    "sort_by_another": lambda x: lax.sort((x, x**2), num_keys=1)[1],
    "sort_by_places": lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1),
    "stack": lambda x: jnp.stack([x, x * x], 1),
    "strided": lambda x: x[::2, 1::2],
    "sum": lambda x: x.sum((0, 1)),
    "take": lambda x: x[1],
    "tile": lambda x: jnp.tile(x, (2, 3)),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "transpose": lambda x: x.T @ x,
    "triangle": jnp.tril,
    "variance": lambda x: jnp.var(x, 1),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_and_reductions(name):
    check_function(MOVES[name], X, purposes=("simulators",))


INDICES = {
    "arg": lambda x: (jnp.argmax(x, 1), jnp.argmin(x, 0)),
    "any_all": lambda x: ((x > 1).any(1), (x > -1).all(0)),
    "sort_with": lambda x: jnp.argsort(x, 1),
    "top_k_places": lambda x: lax.top_k(x, 3)[1],
    "casts": lambda x: (x.astype("int32"), (x > 0).astype("int64")),
}


@pytest.mark.parametrize("name", INDICES)
def test_whole_numbers(name):
    check_function(INDICES[name], X, gradients=False, purposes=("simulators",))


INDEXED = {
    "rows": lambda t, i: t[i],
    "rows_by_take": lambda t, i: jnp.take(t, i, axis=0),
    "columns": lambda t, i: t[:, i % 3],
    "elements": lambda t, i: t[i, i % 3],
    "of_each_of_a_batch": lambda t, i: jax.vmap(lambda row, chosen: row[chosen])(t[:2], i % 3),
    "of_each_row": lambda t, i: jnp.take_along_axis(t[:3], (i.T % 3), axis=1),
    "negative": lambda t, i: t[i - 5],
    "written": lambda t, i: t.at[i[0]].set(7.0 * t[:3]),
    "added": lambda t, i: t.at[i].add(1.5),
    "largest": lambda t, i: t.at[i[0]].max(0.25),
    "window_at": lambda t, i: lax.dynamic_slice(t, (i[0, 0], i[1, 1]), (2, 2)),
    "window_at_known": lambda t, i: lax.dynamic_slice(t, (1, 2), (3, 1)),
    "window_over_end": lambda t, i: lax.dynamic_slice(t, (i[0, 2] + 3, 0), (3, 3)),
    "window_written": lambda t, i: lax.dynamic_update_slice(t, 2 * t[:2], (i[0, 0], 0)),
    "window_written_known": lambda t, i: lax.dynamic_update_slice(t, 2 * t[:2], (1, 0)),
}


@pytest.mark.parametrize("name", INDEXED)
def test_indexing(name):
    check_function(INDEXED[name], normal(5, 3), IDS, gradients=not name.startswith("window_over"))


PRODUCTS = {
    "batched": lambda a, b: jnp.einsum("nij,njk->nik", a, b),
    "rows": lambda a, b: a @ b[0],
    "outer": lambda a, b: jnp.einsum("nij,mjk->nimk", a, b),
    "transposed": lambda a, b: jnp.einsum("nij,njk->kin", a, b),
    "all": lambda a, b: jnp.tensordot(a, b, [[0, 2], [0, 1]]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    check_function(PRODUCTS[name], normal(2, 3, 4), normal(2, 4, 5))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1), (2, 2), (3, 0)])
def test_convolutions(stride, padding, dilation, groups):
    filters = normal(6, 3 // groups, 2, 3)

    def convolve(x, w):
        return lax.conv_general_dilated(
            x, w, (stride, stride), [(padding, padding)] * 2, rhs_dilation=(dilation, 1), feature_group_count=groups
        )

    if groups == 1:
        model = check_function(convolve, normal(2, 3, 9, 8), filters)
        ops = {node.name.split("/")[2] for node in model.graph.node if node.name.startswith("backward/body")}
        assert {"Conv2DBackFilter", "Conv2DBackInput"} <= ops
    else:
        check_function(convolve, normal(2, 3, 9, 8), filters, gradients=False)


def test_a_convolution_of_another_layout():
    def convolve(x, w):
        return lax.conv_general_dilated(x, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    model = check_function(convolve, normal(2, 7, 6, 3), normal(3, 3, 3, 5))
    ops = {node.name.split("/")[2] for node in model.graph.node if node.name.startswith("backward/body")}
    assert {"Conv2DBackFilter", "Conv2DBackInput"} <= ops


@pytest.mark.parametrize("sides", [1, 3])
def test_a_convolution_of_other_sides(sides):
    def convolve(x, w):
        return lax.conv_general_dilated(x, w, (2,) * sides, [(1, 1)] * sides)

    check_function(convolve, normal(2, 3, *(5, 6, 4)[:sides]), normal(4, 3, *[3] * sides), purposes=("simulators",))


def test_a_transposed_convolution():
    check_function(
        lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")),
        normal(2, 3, 5, 4),
        normal(4, 3, 3, 3),
        gradients=False,
    )


def pool(x, kind, size, stride, padding):
    start, join = {"max": (-jnp.inf, lax.max), "sum": (0.0, lax.add), "min": (jnp.inf, lax.min)}[kind]
    window, strides = (1, 1, size, size), (1, 1, stride, stride)
    return lax.reduce_window(x, np.asarray(start, x.dtype), join, window, strides, ((0, 0), (0, 0), padding, padding))


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, (0, 0)), (3, 2, (1, 1)), (3, 1, (0, 1))])
@pytest.mark.parametrize("kind", ["max", "sum"])
def test_windows(kind, size, stride, padding):
    model = check_function(lambda x: pool(x, kind, size, stride, padding), IMAGE)
    ops = {node.name.split("/")[2] for node in model.graph.node if node.name.startswith("backward/body")}
    assert ("MaxPoolGrad" if kind == "max" else "AvgPoolGrad") in ops


@pytest.mark.parametrize("kind", ["max", "sum"])
def test_windows_of_images_with_channels_last(kind):
    def last(x):
        start, join = {"max": (-np.inf, lax.max), "sum": (0.0, lax.add)}[kind]
        return lax.reduce_window(x, np.asarray(start, x.dtype), join, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    model = check_function(last, normal(2, 6, 4, 3))
    assert {"MaxPool" if kind == "max" else "AveragePool"} <= {node.op_type for node in model.graph.node}


def test_a_product_of_booleans_counts():
    check_function(lambda x: lax.dot(x > 0, x.T > 0, preferred_element_type="float32"), X, gradients=False)


def test_a_repeated_value_is_repeated_again():
    check_function(lambda x: jnp.broadcast_to(jnp.broadcast_to(x[0] * 2, (3, 4))[:, None], (3, 2, 4)) + x[0], X)


def test_windows_of_other_axes():
    def lowest(x):
        return lax.reduce_window(x, np.asarray(np.inf, x.dtype), lax.min, (1, 2, 3), (1, 1, 2), "VALID")

    check_function(lowest, normal(2, 4, 7), gradients=False)
    check_function(lambda x: lax.reduce_window(x, np.asarray(0, x.dtype), lax.add, (2, 2), (1, 1), ((1, 0), (0, 1))), X)


LOOPS = {
    "scan": lambda x: lax.scan(lambda c, row: (jnp.tanh(c + row), c * row), x[0], x),
    "scan_reversed": lambda x: lax.scan(lambda c, row: (c * row, c), x[0], x, reverse=True),
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * (i + 1), x),
    "map": lambda x: lax.map(lambda row: row.sum() * row, x),
    "cond_known": lambda x: lax.cond(True, jnp.sin, jnp.cos, x),
    "cond": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
    "switch": lambda x: lax.switch((x[0, 0] > 0).astype("int32") + 1, [jnp.sin, jnp.cos, jnp.tanh], x),
    "remat": jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))),
    "vmap": jax.vmap(lambda row: row @ row * row),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_and_branches(name):
    check_function(LOOPS[name], X, purposes=("simulators", "onnxruntime"))


def test_a_loop_that_stops_by_known_numbers():
    check_function(
        lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, x))[1], X, gradients=False
    )
