"""What OpenVINO makes of a graph: its own operations, whose multiply-accumulates are counted by their shapes."""

from __future__ import annotations

import math
import sys

from answer import Answer, answer


def look(path: str) -> Answer:
    """Read a graph with OpenVINO's ONNX frontend; nothing is compiled."""
    import openvino

    found = 0
    ops = openvino.Core().read_model(path).get_ordered_ops()
    for op in ops:
        kind = op.get_type_name()
        if kind == "MatMul":
            shape = list(op.input(0).get_shape())
            inner = shape[-2] if op.get_attributes()["transpose_a"] and len(shape) > 1 else shape[-1]
            found += math.prod(op.output(0).get_shape()) * inner
        elif kind in ("Convolution", "GroupConvolution"):
            # filters are [O, I, ...] and [G, O, I, ...]
            filters = list(op.input(1).get_shape())[1 if kind == "Convolution" else 2 :]
            found += math.prod(op.output(0).get_shape()) * math.prod(filters)
        elif kind == "ConvolutionBackpropData":
            found += math.prod(op.input(0).get_shape()) * math.prod(list(op.input(1).get_shape())[1:])
    return {"macs": found, "operations": len(ops)}


def version() -> str:
    """OpenVINO's version, without the build."""
    import openvino

    return str(openvino.__version__).split("-")[0]


if __name__ == "__main__":
    sys.exit(answer(look, version()))
