"""What TVM makes of a graph: Relax calls, whose multiply-accumulates are counted by their shapes."""

from __future__ import annotations

import importlib.metadata
import math
import sys

from answer import Answer, answer


def look(path: str) -> Answer:
    """Import a graph into Relax; nothing is compiled."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    calls = []

    def visit(node: object) -> None:
        if isinstance(node, relax.Call) and isinstance(node.op, tvm.ir.Op):
            calls.append(node)

    def shape(value: relax.Expr) -> list[int]:
        return [int(d) for d in value.ty.shape.values]

    relax.analysis.post_order_visit(from_onnx(onnx.load(path))["main"], visit)
    found = 0
    for call in calls:
        kind = call.op.name
        if kind == "relax.matmul":
            found += math.prod(shape(call)) * shape(call.args[0])[-1]
        elif kind in ("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d"):
            found += math.prod(shape(call)) * math.prod(shape(call.args[1])[1:])
        elif kind in ("relax.nn.conv1d_transpose", "relax.nn.conv2d_transpose"):
            found += math.prod(shape(call.args[0])) * math.prod(shape(call.args[1])[1:])
    return {"macs": found, "operations": len(calls)}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("apache-tvm")))
