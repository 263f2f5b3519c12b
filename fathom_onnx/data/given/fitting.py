"""Files of input values against a graph: sizes for its open dimensions, and batches that fit its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fathom_onnx.errors import DataError, UnknownNameError
from fathom_onnx.graph.dimensions import open_dimensions
from fathom_onnx.graph.model import Graph
from fathom_onnx.workloads.contract import Array

from .casting import in_type
from .declared import DeclaredInput, declared_inputs
from .files import InputFile

__all__ = ["GivenBatches", "fitted", "sizes_in_files"]


@dataclass(frozen=True)
class GivenBatches:
    """Batches that a caller gives, to be taken in turn; inputs that they leave out are drawn.

    Attributes:
        batches: Input name to values; a list of arrays for a sequence, None for an optional input that is absent.
        origin: Where they are from, in words.
        remarks: Input name to what was done to its values, for those that were changed.
    """

    batches: tuple[dict[str, Any], ...]
    origin: str = "the caller"
    remarks: dict[str, str] = field(default_factory=dict)


def sizes_in_files(graph: Graph, files: Sequence[InputFile]) -> dict[str, int]:
    """Sizes of a graph's open dimensions, by their labels, as far as the shapes in the files tell them.

    Args:
        graph: A graph with open dimensions.
        files: Values of its inputs; of some of them, it may be.

    Raises:
        UnknownNameError: A file names an input that the graph does not have.
        DataError: Two arrays tell different sizes.
    """
    for file in files:
        _check_names(declared_inputs(graph), file)
    told: dict[str, tuple[int, str]] = {}
    for label, name, axis, _ in open_dimensions(graph.model.graph):
        rank = next((len(i.type.tensor_type.shape.dim) for i in graph.model.graph.input if i.name == name), 0)
        for file in files:
            value = file.arrays.get(name)
            if value is None or value.ndim != rank:  # another rank is refused when the values are fitted
                continue
            where = f"'{name}' in '{file.path}'"
            size, first = told.setdefault(label, (value.shape[axis], where))
            if size != value.shape[axis]:
                raise DataError(
                    f"dimension '{label}' is {size} by {first} and {value.shape[axis]} by {where}",
                    "a run has one size: profile batches of different sizes one by one",
                )
    return {label: size for label, (size, _) in told.items()}


def fitted(graph: Graph, files: Sequence[InputFile]) -> GivenBatches:
    """Batches of the values in files, one a file, in the types and shapes that a graph takes.

    The tensors of a sequence ``xs`` are ``xs.0``, ``xs.1``, ... or ``xs/0``, ``xs/1``, ... in a file. An optional
    input that a file leaves out is absent; any other is left to be drawn.

    Args:
        graph: A graph without open dimensions.
        files: Values of its inputs.

    Raises:
        UnknownNameError: A file names an input that the graph does not have.
        DataError: Values of another shape, or that the input's type cannot hold.
    """
    inputs = declared_inputs(graph)
    remarks: dict[str, str] = {}
    batches = tuple(_batch(inputs, file, remarks) for file in files)
    return GivenBatches(batches, ", ".join(str(file.path) for file in files), remarks)


def _batch(inputs: Sequence[DeclaredInput], file: InputFile, remarks: dict[str, str]) -> dict[str, Any]:
    _check_names(inputs, file)
    if not file.arrays and not any(declared.optional for declared in inputs):
        raise DataError(f"'{file.path}' holds no arrays", "write some with numpy.savez(FILE, **{input name: values})")
    batch: dict[str, Any] = {}
    for declared in inputs:
        if declared.sequence and declared.name not in file.arrays:
            parts = _parts(declared.name, file.arrays, file)
            if parts:
                batch[declared.name] = [_value(declared, key, file.arrays[key], file, remarks) for key in parts]
        elif declared.name in file.arrays:
            if declared.sequence:
                raise DataError(
                    f"'{declared.name}' in '{file.path}' is one array, and the input is a sequence",
                    f"name its tensors {declared.name}.0, {declared.name}.1, ...",
                )
            batch[declared.name] = _value(declared, declared.name, file.arrays[declared.name], file, remarks)
        if declared.optional and declared.name not in batch:
            batch[declared.name] = None
    return batch


def _check_names(inputs: Sequence[DeclaredInput], file: InputFile) -> None:
    known = {declared.name for declared in inputs}
    for declared in inputs:
        if declared.sequence:
            known.update(_parts(declared.name, file.arrays, file))
    unknown = next((name for name in file.arrays if name not in known), None)
    if unknown is not None:
        raise UnknownNameError(f"input in '{file.path}'", unknown, [declared.name for declared in inputs])


def _parts(name: str, arrays: dict[str, Array], file: InputFile) -> list[str]:
    """Keys of the tensors of a sequence in a file, in order."""
    numbers = {
        int(number): key
        for key in arrays
        for sign in "./"
        for number in [key.removeprefix(f"{name}{sign}")]
        if number != key and number.isascii() and number.isdigit()
    }
    missing = next((n for n in range(len(numbers)) if n not in numbers), None)
    if missing is not None:
        raise DataError(f"'{file.path}' has no '{name}.{missing}' and later ones", "number the tensors from 0 on")
    return [numbers[n] for n in sorted(numbers)]


def _value(declared: DeclaredInput, key: str, value: Array, file: InputFile, remarks: dict[str, str]) -> Array:
    if not declared.dtype:
        raise DataError(f"input '{declared.name}' is of a type that no array has", "leave it out")
    shape = declared.shape
    if shape is not None and (
        len(shape) != value.ndim or any(size not in (None, n) for size, n in zip(shape, value.shape, strict=True))
    ):
        raise DataError(
            f"'{key}' in '{file.path}' has shape {list(value.shape)}, and the graph takes {declared}",
            "give values of that shape",
        )
    cast, remark = in_type(value, declared.dtype, f"'{key}' in '{file.path}'")
    if remark:
        remarks[declared.name] = remark
    return cast
