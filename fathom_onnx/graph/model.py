"""A graph: a checked ONNX model with its tensors, its metadata and its hash, loaded from a file or from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import google.protobuf.message
import onnx
from onnx.external_data_helper import uses_external_data

from fathom_onnx.errors import GraphError, one_line

from .address import Address
from .bodies import all_graphs
from .dimensions import fix_dimensions
from .functions import without_functions
from .metadata import GraphMetadata
from .tensors import Tensor, declared_tensor, tensors_of

__all__ = ["Graph", "from_model", "load", "load_structure"]


class Graph:
    """An ONNX model with what the package needs to know about it.

    Attributes:
        model: The model, its model-local functions written out; not to be changed.
        name: A short name: the file's stem, or the workload's.
        path: Where it was read from, or None.
        metadata: The metadata of one of our graphs, or None for any other.
    """

    def __init__(self, model: onnx.ModelProto, name: str, path: Path | None = None) -> None:
        self.model = model
        self.name = name
        self.path = path
        self.metadata = GraphMetadata.read(model)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.model.graph.node)} nodes>"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the serialised model, which is the file's where it was read from one."""
        data = self.path.read_bytes() if self.path else self.model.SerializeToString(deterministic=True)
        return hashlib.sha256(data).hexdigest()

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        """Name to initializer."""
        return {t.name: t for t in self.model.graph.initializer}

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs that a run must feed."""
        return tuple(declared_tensor(i) for i in self.model.graph.input if i.name not in self.initializers)

    @cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs, in order."""
        return tuple(declared_tensor(o) for o in self.model.graph.output)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every named tensor of the top-level graph whose type is known, by name."""
        return tensors_of(self.model.graph, with_bodies=False)

    @cached_property
    def addresses(self) -> dict[str, Address]:
        """Node name to address, for the nodes whose name is one."""
        parsed = ((node.name, Address.parse(node.name)) for node in self.model.graph.node)
        return {name: address for name, address in parsed if address is not None}

    @property
    def training(self) -> bool:
        """Whether the graph is a whole training step with state that lives over steps."""
        return bool(self.metadata and self.metadata.mode == "training")

    @property
    def batch_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that change every step: all but parameters and state."""
        variables = {v.name for v in self.metadata.variables} if self.metadata else set()
        return tuple(t for t in self.inputs if t.name not in variables)


def _checkable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, or one that differs in what the checker refuses though it can be looked at.

    External initializers are empty, for the checker looks for their files; outputs without a shape have one.
    """
    shapeless = [o for o in model.graph.output if o.type.HasField("tensor_type") and not _has_shape(o)]
    if not shapeless and not any(uses_external_data(t) for part in all_graphs(model.graph) for t in part.initializer):
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for part in all_graphs(plain.graph):
        for tensor in part.initializer:
            if uses_external_data(tensor):
                tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0], raw_data=b""))
    for output in plain.graph.output:
        if output.type.HasField("tensor_type") and not _has_shape(output):
            output.type.tensor_type.shape.SetInParent()
    return plain


def _has_shape(info: onnx.ValueInfoProto) -> bool:
    return bool(info.type.tensor_type.HasField("shape"))


def _checked(
    model: onnx.ModelProto, name: str, path: Path | None, dimensions: Mapping[str, int], *, to_run: bool
) -> Graph:
    fixed = fix_dimensions(model, dimensions, name, all_of_them=to_run)
    try:
        if not model.graph.node:
            raise GraphError(f"graph '{name}' has no nodes", "give a model with at least one")
        onnx.checker.check_model(model if to_run else _checkable(model))
        model = without_functions(model) if to_run else model
        produced = sum(len([o for o in n.output if o]) for n in model.graph.node)
        if fixed or len(model.graph.value_info) + len(model.graph.output) < produced:
            if fixed:
                del model.graph.value_info[:]
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise GraphError(f"'{name}' is not a valid ONNX graph ({one_line(error)})", "check the file") from error
    return Graph(model, name, path)


def from_model(
    model: onnx.ModelProto, name: str, path: Path | None = None, dimensions: Mapping[str, int] | None = None
) -> Graph:
    """A graph from a model in memory, checked and with shapes inferred where they were missing.

    Raises:
        GraphError: The model is not valid, or has dynamic input dimensions without a value.
        UnknownNameError: ``dimensions`` names one that the graph does not have.
    """
    return _checked(model, name, path, dimensions or {}, to_run=True)


def _read(path: Path, *, weights: bool) -> onnx.ModelProto:
    try:
        return onnx.load(path, load_external_data=weights)
    except FileNotFoundError as error:
        missing = error.filename if error.filename and str(error.filename) != str(path) else path
        raise GraphError(f"no file '{missing}'", "give the path of an .onnx file") from error
    except IsADirectoryError as error:
        raise GraphError(f"'{path}' is a folder", "give the path of an .onnx file") from error
    except OSError as error:
        raise GraphError(f"cannot read '{path}' ({error.strerror})", "check its permissions") from error
    except (google.protobuf.message.DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise GraphError(
            f"'{path}' is not an ONNX file or is cut short ({one_line(error, 80)})", "export or fetch it again"
        ) from error


def load(path: str | Path, dimensions: Mapping[str, int] | None = None) -> Graph:
    """Read and check a graph file.

    Args:
        path: An ``.onnx`` file.
        dimensions: Values for symbolic input dimensions, by name (``N``) or as ``input.axis``.

    Raises:
        GraphError: No such file, not ONNX, cut short, invalid, or dynamic without values.
    """
    path = Path(path)
    return from_model(_read(path, weights=True), path.stem, path, dimensions)


def load_structure(path: str | Path, dimensions: Mapping[str, int] | None = None) -> Graph:
    """Read a graph file to look at it and not to run it.

    Files of external weights are not read and need not be there, and dynamic dimensions without a value stay so.

    Args:
        path: An ``.onnx`` file.
        dimensions: Values for symbolic input dimensions, by name (``N``) or as ``input.axis``.

    Raises:
        GraphError: No such file, not ONNX, cut short or invalid.
        UnknownNameError: ``dimensions`` names one that the graph does not have.
    """
    path = Path(path)
    return _checked(_read(path, weights=False), path.stem, path, dimensions or {}, to_run=False)
