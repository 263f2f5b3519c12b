"""What a reader of converted files would count, from the files alone."""

from __future__ import annotations

import math
import re
from typing import Any

import onnx
import yaml

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.convert.converter import Conversion
from fathom_onnx.graph import from_model

__all__ = ["macs_written", "parsed", "scalesim_macs", "text"]


def parsed(document: str) -> Any:
    # the C parser where there is one: einsums of a training step are many
    return yaml.load(document, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def text(conversion: Conversion, suffix: str) -> str:
    content = conversion.files[suffix]
    assert isinstance(content, bytes)
    return content.decode()


def scalesim_macs(cells: list[str]) -> int:
    """As SCALE-Sim counts: outputs, rounded up, times window times filters."""
    numbers = [int(c) for c in cells[1:]]
    if len(numbers) == 3:
        return math.prod(numbers)
    height, width, rows, columns, channels, filters, stride = numbers
    down, across = (math.ceil((size - k + stride) / stride) for size, k in ((height, rows), (width, columns)))
    return down * across * rows * columns * channels * filters


def _accelforge(conversion: Conversion) -> int:
    einsums = parsed(text(conversion, ".accelforge.yaml"))["workload"]["einsums"]
    assert len({e["name"] for e in einsums}) == len(einsums)
    return sum(math.prod(int(bound.split("<")[2]) for bound in e["iteration_space_shape"]) for e in einsums)


def _timeloop(conversion: Conversion) -> int:
    found = 0
    for layer in parsed(text(conversion, ".timeloop.yaml"))["layers"]:
        problem = parsed(text(conversion, layer["problem"].removeprefix("out")))["problem"]
        macs = math.prod(problem["instance"][d] for d in problem["shape"]["dimensions"])
        assert macs == layer["macs"]
        found += macs
    return found


def _maestro(conversion: Conversion) -> int:
    found = 0
    sizes = ", ".join(rf"{dimension}: (\d+)" for dimension in "NKCRSYX")
    pattern = rf"Stride \{{ X: (\d+), Y: (\d+) \}}\nDimensions \{{ {sizes} \}}"
    for match in re.findall(pattern, text(conversion, ".m")):
        across, down, n, k, c, r, s, y, x = map(int, match)
        found += n * k * c * r * s * ((y - r) // down + 1) * ((x - s) // across + 1)
    return found


def _scalesim(conversion: Conversion) -> int:
    _, *lines = text(conversion, ".csv").splitlines()
    return sum(scalesim_macs(line[:-1].split(",")) for line in lines)


def _compute_only(conversion: Conversion) -> int:
    content = conversion.files[".onnx"]
    assert isinstance(content, bytes)
    graph = from_model(onnx.load_from_string(content), "compute")
    assert {n.op_type for n in graph.model.graph.node} <= {"Conv", "ConvTranspose", "Gemm", "MatMul"}
    return sum(cost.macs or 0 for cost in graph_costs(graph))


_READERS = {
    "accelforge": _accelforge,
    "compute-only": _compute_only,
    "maestro": _maestro,
    "scalesim": _scalesim,
    "timeloop": _timeloop,
}


def macs_written(name: str, conversion: Conversion) -> int:
    """Multiply-accumulates in the files of a conversion whose stem is ``out``."""
    return _READERS[name](conversion)
