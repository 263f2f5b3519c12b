"""Measure forms of filter gradients between convolutions by Winograd's algorithm, which leave batch and channels last.

    python benchmarks/step_speed/filters.py                           # layers of the image workloads
    python benchmarks/step_speed/filters.py 8x64x128x112 --threads 2  # as those of forms.py

All forms of a layer take turns in one process; its image and the gradient of its output come as [H, W, N, channels].
Prints a table of medians in ms. *direct* is what exporters write for all runtimes, a product for each kernel element of
images with channels first, *views* one product with their views side by side, *shifts* one of shifted tensors. The
limit in :mod:`fathom_exporters.lowering.gradients.fast.shifts` is set by hand on such tables.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from forms import FLOAT, Layer, cleaned, in_turns

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.gradients import convolution
from fathom_exporters.lowering.gradients.fast.shifts import Shifts
from fathom_exporters.lowering.gradients.fast.views import Views
from fathom_exporters.lowering.tags import Tag
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings

LAYERS = (
    "8x64x64x224", "8x64x128x112", "8x128x128x112", "8x128x256x56", "8x256x256x56", "8x256x512x28", "8x512x512x28",
    "8x512x512x14", "2x64x64x112", "2x64x128x56", "2x128x128x56", "2x128x256x28", "2x256x256x28", "2x512x512x14",
    "4x64x64x32", "16x64x64x16", "4x128x128x16", "4x256x256x8", "32x32x32x28", "32x64x64x9p0",
)  # fmt: skip
FORMS: dict[str, Callable[[Builder, Layer, ir.Value, ir.Value], ir.Value]] = {
    "direct": lambda b, layer, dy, x: convolution.back_filter(
        b, ir.node("Conv2DBackFilter", [dy, x], layer.attributes)
    )[0],
    "views": lambda b, layer, dy, x: Views(b, layer.window, x.shape, dy.shape).back_filter(dy, x),
    "shifts": lambda b, layer, dy, x: Shifts(b, layer.window, x.shape, dy.shape).back_filter(dy, x),
}


def model(layer: Layer, form: str) -> onnx.ModelProto:
    """The gradient of a layer's filter in a form, of images with batch and channels last."""
    shapes = {name: layer.shapes[name] for name in ("x", "dy")}
    given = {
        name: ir.Value(name=name, type=FLOAT, shape=ir.Shape([*sides, n, c])) for name, (n, c, *sides) in shapes.items()
    }
    graph = ir.Graph(list(given.values()), [], nodes=[], opset_imports={"": 18}, name="gradient")
    b = Builder(graph)
    b.begin(Tag("backward", "layer", "Conv2DBackFilter", "layer"))
    images = {}
    for name, value in given.items():
        images[name] = b.op("Transpose", value, perm=[2, 3, 0, 1])
        images[name].type, images[name].shape = FLOAT, ir.Shape(shapes[name])
    made = FORMS[form](b, layer, images["dy"], images["x"])
    made.name, made.type, made.shape = "dw", FLOAT, ir.Shape(layer.shapes["w"])
    graph.outputs.append(made)
    graph.extend(b.nodes)
    return cleaned(graph)


def measure(layer: Layer, threads: int, seconds: float) -> dict[str, float]:
    """Median ms of each form."""
    rng = np.random.default_rng(0)
    shapes = {name: layer.shapes[name] for name in ("x", "dy")}
    values = {name: rng.normal(size=[*sides, n, c]).astype(np.float32) for name, (n, c, *sides) in shapes.items()}
    sessions = {
        name: open_session(Prepared(model(layer, name), {}, (), {}), SessionSettings("cpu", threads)) for name in FORMS
    }
    runs = {name: functools.partial(session.run, ["dw"], values) for name, session in sessions.items()}
    found = {name: run()[0] for name, run in runs.items()}
    for name, dw in found.items():
        most = np.abs(found["direct"]).max()
        np.testing.assert_allclose(dw, found["direct"], rtol=1e-3, atol=1e-4 * most, err_msg=name)
    times = in_turns(runs, threads, seconds)
    return {name: statistics.median(of_form) for name, of_form in times.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", default=LAYERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="for a layer")
    given = parser.parse_args()
    print("| layer | " + " | ".join(FORMS) + " |\n|---|" + "---:|" * len(FORMS))
    for text in given.layers:
        layer = Layer.of(text)
        if layer.stride != 1:
            raise SystemExit(f"'{text}' has a stride; no such convolution is by Winograd's algorithm")
        row = measure(layer, given.threads, given.seconds)
        print(f"| {text} | " + " | ".join(f"{ms:.3g}" for ms in row.values()) + " |", flush=True)
