"""A few lines of JAX and their gradients as a graph, compared with JAX in double precision."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime as ort

from fathom_exporters.jax.capture import Captured
from fathom_exporters.jax.jaxprs import same
from fathom_exporters.jax.translate import translate
from fathom_exporters.lowering import finish
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Adam, Layer, TensorSpec, Workload

PURPOSES = ("simulators", "onnxruntime", "cuda")


@dataclass(frozen=True)
class Config:
    batch: int = 1


def _with_gradients(function, arguments, gradients):
    """The function's results, and gradients of the sum of their unevenly weighted squares for the float arguments."""
    floats = [n for n, a in enumerate(arguments) if jnp.issubdtype(a.dtype, jnp.floating)] if gradients else []

    def total(*given):
        values = list(arguments)
        for n, value in zip(floats, given, strict=True):
            values[n] = value
        with jax.named_scope("forward"), jax.named_scope("body"):
            results = jax.tree.leaves(function(*values))
        added = jnp.zeros((), arguments[floats[0]].dtype) if floats else 0
        with jax.named_scope("loss"):
            for result in results:
                if floats and jnp.issubdtype(result.dtype, jnp.floating):
                    weights = np.cos(np.arange(result.size)).reshape(result.shape)
                    added += (jnp.square(result) * jnp.asarray(weights, result.dtype)).sum()
        return added, results

    if not floats:
        return total()[1]
    made, results = jax.grad(total, argnums=range(len(floats)), has_aux=True)(*(arguments[n] for n in floats))
    return [*results, *made]


def captured_function(function, values, gradients=True, layers=("body",)):
    """The capture of a function of the values: outputs ``y0``, ``y1`` and on, its results and their gradients."""

    def record(dtype):
        shapes = [jax.ShapeDtypeStruct(v.shape, dtype if v.dtype == np.float32 else v.dtype) for v in values]
        return jax.make_jaxpr(lambda *a: _with_gradients(function, a, gradients))(*shapes)

    with jax.enable_x64(True):
        double, single = record("float64"), record("float32")
    workload = Workload(
        name="function",
        preset="tiny",
        config=Config(),
        features=tuple(TensorSpec(f"x{n}", tuple(v.shape), str(v.dtype)) for n, v in enumerate(values)),
        parameters=(),
        outputs=tuple(TensorSpec(f"y{n}", tuple(a.shape), str(a.dtype)) for n, a in enumerate(single.out_avals)),
        layers=tuple(Layer(name, "function") for name in layers),
        optimizer=Adam(1e-2),
    )
    return Captured(workload, "inference", workload.interface("inference"), double if same(double, single) else single)


def exported(captured, purpose="simulators", marks=True):
    """The finished graph of a captured function."""
    translated, gradients = translate(captured, marks)
    return finish(translated, ExportRequest(captured.workload, "inference", "input", purpose), "jax", "", gradients)


def run(model, values):
    """The outputs of a graph by name."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    held = {i.name for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {n: v for n, v in values.items() if n in held}), strict=True))


def in_double(function, values, gradients=True):
    """The results and gradients by JAX in float64."""
    with jax.enable_x64(True):
        wide = [jnp.asarray(v, "float64" if v.dtype == np.float32 else v.dtype) for v in values]
        return [np.asarray(y) for y in jax.jit(lambda *a: _with_gradients(function, a, gradients))(*wide)]


def check_function(function, *values, gradients=True, tolerance=2e-5, purposes=PURPOSES, marks=True):
    """A function's graph, for each purpose, gives what JAX gives in double precision; the first graph is returned."""
    want = in_double(function, values, gradients)
    captured = captured_function(function, values, gradients)
    models = []
    for purpose in purposes:
        models.append(exported(captured, purpose, marks))
        got = run(models[-1], {f"x{n}": v for n, v in enumerate(values)})
        for n, expected in enumerate(want):
            actual = got[f"y{n}"]
            assert actual.shape == expected.shape
            if expected.dtype.kind != "f":
                np.testing.assert_array_equal(actual, expected)
                continue
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=1e-3)
            np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * largest)
    return models[0]
