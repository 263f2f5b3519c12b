"""Measure the forms of convolutions, forward and both gradients, against each other and PyTorch.

    python benchmarks/step_speed/forms.py                       # the layers of the image workloads
    python benchmarks/step_speed/forms.py 8x64x128x28 --threads 2   # 3x3: batch, channels in and out, side
    python benchmarks/step_speed/forms.py 32x32x64x20k4s2p0     # another kernel, stride and padding

All forms of a layer take turns in one process. Prints a table: the direct forms in ms, whose gradient of the filter is
a product for each kernel element or a convolution, each other form as a part of that, by the mean of the ratios of
minima and of medians, and its error in float32 against PyTorch in float64, the largest of output and gradients against
the largest value. The costs in :mod:`fathom_exporters.lowering.gradients.fast.costs` and the limits in
:mod:`fathom_exporters.lowering.gradients.fast.views` are set by hand on such tables.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import torch
import torch.nn.functional as F
from onnx_ir.passes.common import TopologicalSortPass

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.cleanup import CLEANUP
from fathom_exporters.lowering.gradients import convolution
from fathom_exporters.lowering.gradients.fast.costs import Form, form_of
from fathom_exporters.lowering.gradients.fast.patches import Patches, by_patches
from fathom_exporters.lowering.gradients.fast.views import Views, filter_by_views, forward_by_views
from fathom_exporters.lowering.gradients.fast.winograd import Winograd
from fathom_exporters.lowering.infer import InferShapes
from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.window import Window
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings

LAYERS = (
    "8x64x64x56", "8x128x128x28", "8x256x256x14", "8x512x512x7", "4x256x256x8", "4x512x512x4", "4x64x64x16",
    "4x512x512x2", "2x512x512x4", "4x32x32x32", "2x64x64x112", "2x256x256x56", "2x512x512x28", "2x384x256x13",
    "2x512x512x8", "2x64x64x64", "8x64x192x15k5p2", "32x64x64x9p0", "32x32x64x20k4s2p0", "32x4x32x84k8s4p0",
    "4x64x128x16s2",
)  # fmt: skip
OUTPUTS = ("y", "dx", "dw")
FLOAT = ir.TensorType(ir.DataType.FLOAT)
LAYER = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+)(?:k(\d+))?(?:s(\d+))?(?:p(\d+))?")
PATCHES, JOINED, VIEWS = "patches", "joined", "views"
"""All three as products with patches; the filter's gradient as one product with views; the forward pass too."""
REST_S = 0.05
"""Before a turn on several threads: those of the session before spin for as long."""
WARMUP = 3
"""Runs before those that count, in which a session asks for its memory."""
MOST_PLACES = 256
"""Places of an image up to which patches are compared."""


@dataclass(frozen=True)
class Layer:
    """A square convolution."""

    batch: int
    channels_in: int
    channels: int
    side: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @classmethod
    def of(cls, text: str) -> Layer:
        """The layer that a command line names."""
        found = LAYER.fullmatch(text)
        if found is None:
            raise SystemExit(f"'{text}' is no layer; write one as 8x64x128x28 or 32x32x64x20k4s2p0")
        given = zip(
            ("batch", "channels_in", "channels", "side", "kernel", "stride", "padding"), found.groups(), strict=True
        )
        return cls(**{name: int(number) for name, number in given if number is not None})

    @property
    def out(self) -> int:
        """The side of the output."""
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Input, filter and the gradient of the output."""
        return {
            "x": [self.batch, self.channels_in, self.side, self.side],
            "w": [self.channels, self.channels_in, self.kernel, self.kernel],
            "dy": [self.batch, self.channels, self.out, self.out],
        }

    @property
    def attributes(self) -> dict[str, list[int]]:
        """Of its window."""
        kernel, stride, padding = [self.kernel] * 2, [self.stride] * 2, [self.padding] * 4
        return {"kernel_shape": kernel, "strides": stride, "pads": padding, "dilations": [1, 1]}

    @property
    def window(self) -> Window:
        """Its window."""
        return Window(ir.node("Conv", [], self.attributes))


def cleaned(graph: ir.Graph) -> onnx.ModelProto:
    """The model of a graph after clean-up."""
    found = ir.Model(graph, ir_version=10)
    for step in (InferShapes(), *CLEANUP, TopologicalSortPass()):
        step(found)
    return ir.to_proto(found)


def model(layer: Layer, form: Form | str | None) -> onnx.ModelProto:
    """Forward and both gradients of a layer in a form, None for the direct ones."""
    shapes = layer.shapes
    x, w, dy = (ir.Value(name=name, type=FLOAT, shape=ir.Shape(shape)) for name, shape in shapes.items())
    graph = ir.Graph([x, w, dy], [], nodes=[], opset_imports={"": 18}, name="layer")
    b = Builder(graph)
    b.begin(Tag("forward", "layer", "Conv2D", "layer"))
    if form in (None, JOINED, VIEWS):
        back_filter = ir.node("Conv2DBackFilter", [dy, x], layer.attributes)
        back_input = ir.node("Conv2DBackInput", [dy, w], layer.attributes | {"input_shape": shapes["x"]})
        back_filter.outputs[0].shape, back_input.outputs[0].shape = w.shape, x.shape
        views = Views(b, layer.window, shapes["x"], shapes["dy"])
        made = [
            views.forward(x, w) if form == VIEWS else b.op("Conv", x, w, **layer.attributes),
            *convolution.back_input(b, back_input, may_flip=layer.channels <= layer.channels_in),
            views.back_filter(dy, x) if form else convolution.back_filter(b, back_filter)[0],
        ]
    else:
        of = (
            Winograd(b, form.tile, shapes["x"], shapes["dy"], [layer.padding] * 2, form.groups)
            if isinstance(form, Form)
            else Patches(b, layer.window, shapes["x"], shapes["dy"])
        )
        made = [of.forward(x, w), of.back_input(dy, w), of.back_filter(dy, x)]
    for value, name, like in zip(made, OUTPUTS, (dy, x, w), strict=True):
        value.name, value.type, value.shape = name, FLOAT, like.shape
        graph.outputs.append(value)
    graph.extend(b.nodes)
    return cleaned(graph)


def forms(layer: Layer) -> dict[str, Form | str | None]:
    """The forms to compare, by name."""
    found: dict[str, Form | str | None] = {"direct": None, JOINED: JOINED, VIEWS: VIEWS}
    if layer.side**2 <= MOST_PLACES:
        found[PATCHES] = PATCHES
    for tile in (2, 4) if (layer.kernel, layer.stride) == (3, 1) else ():
        tiles = -(-layer.out // tile)
        groups = [1, *(g for g in (2, 4, 7, 14) if tile == 4 and tiles >= 8 and tiles % g == 0 and tiles // g > 1)]
        found |= {f"F({tile})" + f", {g} groups" * (g > 1): Form(tile, (g, g)) for g in groups}
    return found


def torch_step(layer: Layer, values: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """PyTorch's own: output, gradients of input and filter."""
    x, w, dy = (values[name] for name in ("x", "w", "dy"))
    stride, padding = [layer.stride] * 2, [layer.padding] * 2
    options = (stride, padding, [1, 1], False, [0, 0], 1, [True, True, False])
    dx, dw, _ = torch.ops.aten.convolution_backward(dy, x, w, None, *options)
    return F.conv2d(x, w, None, stride, padding), dx, dw


def in_turns(runs: Mapping[str, Callable[[], object]], threads: int, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of what takes turns for so many seconds, four at least, once each is warm."""
    for run in runs.values():
        for _ in range(WARMUP):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + seconds
    while time.monotonic() < end or any(len(of_one) < 4 for of_one in times.values()):
        for name, run in runs.items():
            if threads > 1:
                time.sleep(REST_S)
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) * 1e3)
    return times


def measure(layer: Layer, threads: int, seconds: float) -> list[tuple[str, float, float, float]]:
    """Name, median ms, part of the direct forms and error of PyTorch and of each form."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in layer.shapes.items()}
    tensors = {name: torch.from_numpy(v) for name, v in values.items()}
    exact = torch_step(layer, {name: t.double() for name, t in tensors.items()})
    runs: dict[str, Callable[[], object]] = {"PyTorch": lambda: torch_step(layer, tensors)}
    errors: dict[str, float] = {}
    for name, form in forms(layer).items():
        session = open_session(Prepared(model(layer, form), {}, (), {}), SessionSettings("cpu", threads))
        runs[name] = lambda session=session: session.run(list(OUTPUTS), values)
    for name, run in runs.items():
        found = [np.asarray(part) for part in run()]  # type: ignore[attr-defined]
        pairs = zip(found, (part.numpy() for part in exact), strict=True)
        errors[name] = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)
    times = in_turns(runs, threads, seconds)
    direct = times["direct"]
    parts = {
        name: (min(t) / min(direct) + statistics.median(t) / statistics.median(direct)) / 2 for name, t in times.items()
    }
    return [(name, statistics.median(times[name]), parts[name], errors[name]) for name in runs]


def taken(layer: Layer) -> str:
    """The form that the rule of costs takes where all three may have one."""
    shapes = layer.shapes
    x, dy = (ir.Value(name=n, type=FLOAT, shape=ir.Shape(shapes[n])) for n in ("x", "dy"))
    if by_patches(x, dy, layer.window):
        return PATCHES
    form = form_of(x, dy, layer.window)
    if form is not None:
        return next((name for name, other in forms(layer).items() if other == form), str(form))
    if forward_by_views(x, dy, layer.window):
        return VIEWS
    return JOINED if filter_by_views(x, dy, layer.window) else "direct"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", default=LAYERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10, help="for a layer")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| layer | form | ms | part of the direct forms | error | taken |\n|---|---|---:|---:|---:|---|")
    for text in given.layers:
        layer = Layer.of(text)
        for name, ms, part, error in measure(layer, given.threads, given.seconds):
            mark = "yes" if name == taken(layer) else ""
            print(f"| {text} | {name} | {ms:.2f} | {part:.2f} | {error:.0e} | {mark} |", flush=True)
