"""Reading a model file. External weights stay in their files, save small ones, which shape inference needs.

Weights of several gigabytes are never copied into this process: onnxruntime maps their files when it runs the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import google.protobuf.message
import onnx
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from fathom_onnx.errors import GraphError, one_line
from fathom_onnx.graph.bodies import all_graphs
from fathom_onnx.graph.tensors import initializer_tensor

from .limits import refuse_unreadable

__all__ = ["LARGEST_BYTES", "external_tensors", "hold_values", "read_model", "read_weights"]

SMALL_BYTES = 1024
"""External tensors up to this size are read: sizes, axes and other values that decide shapes."""

LARGEST_BYTES = 2**31 - 1
"""Largest size of one file: protobuf's limit."""


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The initializers of a model and its bodies whose values are in files beside it."""
    for part in all_graphs(model.graph):
        yield from (tensor for tensor in part.initializer if uses_external_data(tensor))


def hold_values(tensor: onnx.TensorProto, folder: Path) -> None:
    """Read the values of an external tensor into it, in place.

    Args:
        tensor: The tensor.
        folder: The folder in which its file lies.

    Raises:
        OSError, ValueError, onnx.checker.ValidationError: They cannot be read.
    """
    file = (folder / ExternalDataInfo(tensor).location).resolve()
    for entry in tensor.external_data:
        if entry.key == "location":  # onnx reads no links; that they lead nowhere else is checked before
            entry.value = file.name
    load_external_data_for_tensor(tensor, str(file.parent))
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def read_model(path: Path, *, to_run: bool) -> onnx.ModelProto:
    """Read a model file.

    Args:
        path: An ``.onnx`` file.
        to_run: Whether the files of external weights must be there.

    Raises:
        GraphError: No such file, not ONNX, cut short, or a file of weights is missing or too short.
    """
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except FileNotFoundError as error:
        raise GraphError(f"no file '{path}'", "give the path of an .onnx file") from error
    except IsADirectoryError as error:
        raise GraphError(f"'{path}' is a folder", "give the path of an .onnx file") from error
    except OSError as error:
        raise GraphError(f"cannot read '{path}' ({error.strerror})", "check its permissions") from error
    except (google.protobuf.message.DecodeError, ValueError) as error:
        raise GraphError(
            f"'{path}' is not an ONNX file or is cut short ({one_line(error, 80)})", "export or fetch it again"
        ) from error
    refuse_unreadable(model, path.stem)
    for tensor in external_tensors(model):
        _read_small(tensor, path, to_run=to_run)
    return model


def read_weights(model: onnx.ModelProto, path: Path) -> None:
    """Read the external weights of a model into it, in place.

    Args:
        model: The model.
        path: The file that it was read from.

    Raises:
        GraphError: They cannot be read, or one file cannot hold them.
    """
    tensors = list(external_tensors(model))
    size = sum(_length(tensor) for tensor in tensors)
    if size + model.ByteSize() > LARGEST_BYTES:
        raise GraphError(
            f"'{path}' has {size / 1e9:.1f} GB of external weights, and one file cannot hold more than 2 GB",
            "give a graph with smaller weights, or one with parameters as inputs",
        )
    for tensor in tensors:
        _read_tensor(tensor, path)


def _length(tensor: onnx.TensorProto) -> int:
    """Bytes of an external tensor: as its file says or, where it does not, by its shape and type."""
    return int(ExternalDataInfo(tensor).length or initializer_tensor(tensor).size_bytes or 0)


def _place(tensor: onnx.TensorProto, path: Path) -> ExternalDataInfo:
    """Where the values of an external tensor are: a file in the folder of the graph, as onnx and onnxruntime ask for.

    Raises:
        GraphError: It is elsewhere, by its path or by a link, or what says so makes no sense.
    """
    try:
        place = ExternalDataInfo(tensor)
        folders = [path.parent.resolve(), path.resolve().parent]
        file = (path.parent / place.location).resolve()
    except (ValueError, OSError, RuntimeError) as error:
        raise GraphError(
            f"where weight '{tensor.name}' of '{path}' is makes no sense ({one_line(error, 120)})",
            "export or fetch it again",
        ) from error
    if not place.location or Path(place.location).is_absolute() or file.parent == file or file in folders:
        raise GraphError(
            f"weight '{tensor.name}' of '{path}' is in '{place.location}', which is no file beside the graph",
            "put its weights beside the graph, under a relative name",
        )
    if not any(file.is_relative_to(folder) for folder in folders):
        raise GraphError(
            f"weight '{tensor.name}' of '{path}' is in '{file}', outside the folder of the graph",
            "put its weights beside the graph; onnxruntime reads no others",
        )
    return place


def _read_small(tensor: onnx.TensorProto, path: Path, *, to_run: bool) -> None:
    """Check that the values of an external tensor are there, and read them if they are few."""
    place = _place(tensor, path)
    file = path.parent / place.location
    length = _length(tensor)
    try:
        if file.exists() and not file.is_file():
            raise GraphError(f"the weights of '{path}' are in '{file}', which is no file", "export or fetch it again")
        missing = (place.offset or 0) + length - file.stat().st_size
    except OSError as error:
        if not to_run:
            return
        raise GraphError(
            f"the weights of '{path}' are in '{file}', which cannot be read ({error.strerror})",
            "put that file beside the graph",
        ) from error
    if missing > 0:
        if not to_run:
            return
        raise GraphError(
            f"'{file}' ends {missing} bytes before the end of weight '{tensor.name}' of '{path}'",
            "fetch or export both files again",
        )
    if 0 < length <= SMALL_BYTES:
        _read_tensor(tensor, path)


def _read_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    """Read the values of an external tensor of a model file into it."""
    try:
        hold_values(tensor, path.parent)
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise GraphError(
            f"weight '{tensor.name}' of '{path}' cannot be read ({one_line(error, 120)})",
            "put the file of its weights beside the graph",
        ) from error
