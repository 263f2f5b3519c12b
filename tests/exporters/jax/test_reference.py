"""How JAX's own steps are compiled to be compared with."""

from __future__ import annotations

from typing import Any

import jax
import pytest
from jax import numpy as jnp

from fathom_exporters.jax.reference import QUICKLY, quickly

IMAGES, FILTERS = (1, 2, 8, 8), (3, 2, 3, 3)


def convolution(x: Any, w: Any) -> Any:
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME").sum()


def product(x: Any, w: Any) -> Any:
    return x.sum() * w.sum()


@pytest.mark.parametrize(
    ("function", "dtype", "level"),
    [
        (convolution, "float64", 1),
        (jax.jit(convolution), "float64", 1),
        (jax.grad(jax.jit(convolution)), "float64", 1),
        (convolution, "float32", 0),
        (product, "float64", 0),
    ],
)
def test_xla_tries_where_it_writes_convolutions_itself(function: Any, dtype: str, level: int) -> None:
    with jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(function)(jnp.zeros(IMAGES, dtype), jnp.zeros(FILTERS, dtype))
    assert quickly(jaxpr.jaxpr) == {**QUICKLY, "xla_backend_optimization_level": level}
