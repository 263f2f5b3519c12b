"""onnx's inference of shapes: here where it is known to stay small, else in a process with a limit of its memory.

Such a process takes half a second. It is for graphs that hardly any honest exporter writes.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.inliner
import onnx.shape_inference

from fathom_onnx.graph.bodies import all_graphs, outputs_of

from .faults import inferred_without_faults
from .growth import held_by_inference

__all__ = ["MOST_BYTES", "inferred", "open_tensors", "types_of"]

_MOST_HELD = 2**22
"""Dimensions and numbers that inference may hold in this process: some 60 bytes each."""

MOST_BYTES = 10**9
"""Memory that inference may take in a process of its own."""

_LONGEST_S = 60
"""Seconds that it may take there."""

_SCRIPT = Path(__file__).with_name("inferring.py")
_REFUSED = 3
"""Exit code of the script where inference itself refuses the model: its last line says why."""


def inferred(model: onnx.ModelProto, *, strict: bool = False, follow: bool = True) -> onnx.ModelProto:
    """A model with the shapes that onnx infers.

    Args:
        model: The model.
        strict: Whether contradictions are errors.
        follow: Whether the values of sizes are followed through the graph.

    Raises:
        onnx.shape_inference.InferenceError: There is a contradiction.
        ValueError: It cannot be inferred, or takes more memory or time than any graph needs.
    """
    infer = functools.partial(_inferred, strict=strict, follow=follow)
    return inferred_without_faults(model, infer, strict=strict)


def _inferred(model: onnx.ModelProto, strict: bool, follow: bool) -> onnx.ModelProto:
    flat = onnx.inliner.inline_local_functions(model) if model.functions else model
    if held_by_inference(flat, follow=False) > _MOST_HELD:
        return _elsewhere(model, strict, follow)
    plain = onnx.shape_inference.infer_shapes(model, check_type=strict, strict_mode=strict)
    if not follow or not any(True for part in all_graphs(plain.graph) for _ in open_tensors(part)):
        return plain
    sized = onnx.shape_inference.infer_shapes(flat) if model.functions else plain
    if held_by_inference(sized, follow=True) > _MOST_HELD:
        return _elsewhere(model, strict, follow)
    return onnx.shape_inference.infer_shapes(model, check_type=strict, strict_mode=strict, data_prop=True)


def types_of(part: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """The types of the tensors that nodes of a graph make, by name, as far as they are known."""
    return {value.name: value.type for value in [*part.value_info, *part.output]}


def open_tensors(part: onnx.GraphProto) -> Iterator[str]:
    """Tensors that nodes of a graph make and whose shape is not wholly known."""
    known = types_of(part)
    for node in part.node:
        for name in outputs_of(node):
            kind = known.get(name)
            which = kind.WhichOneof("value") if kind is not None else None
            if kind is None or which is None or (which == "tensor_type" and not _whole(kind.tensor_type)):
                yield name


def _whole(kind: onnx.TypeProto.Tensor) -> bool:
    return bool(kind.HasField("shape")) and all(dim.HasField("dim_value") for dim in kind.shape.dim)


def _elsewhere(model: onnx.ModelProto, strict: bool, follow: bool) -> onnx.ModelProto:
    """The same in a process of its own."""
    options = [str(int(option)) for option in (strict, follow, MOST_BYTES, _LONGEST_S)]
    command = [sys.executable, "-P", str(_SCRIPT), *options]
    done = subprocess.run(command, input=model.SerializeToString(), capture_output=True, check=False)
    if done.returncode == 0:
        made = onnx.ModelProto()
        made.ParseFromString(done.stdout)
        return made
    if done.returncode == _REFUSED:
        raise onnx.shape_inference.InferenceError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    raise ValueError(f"its shapes take more than {MOST_BYTES / 1e9:g} GB or {_LONGEST_S} s to infer")
