"""A graph: a checked ONNX model with its tensors, its metadata and its hash, loaded from a file or from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import onnx

from fathom_onnx.errors import GraphError
from fathom_onnx.refusals import explain
from fathom_onnx.workloads.contract import Array

from .address import Address
from .dimensions import GivenSize, fix_dimensions, open_dimensions
from .functions import align_versions, without_functions
from .loading.checking import check
from .loading.limits import refuse_endless, refuse_gigantic, refuse_long_slices, refuse_unreadable
from .loading.order import put_in_order
from .loading.reading import external_tensors, read_model, read_weights
from .loading.shapes import infer_shapes
from .loading.values import read_values
from .metadata import GraphMetadata
from .tensors import Tensor, declared_tensor, tensors_of

__all__ = ["PRODUCER", "Graph", "from_model", "load", "load_exported", "load_structure"]

PRODUCER = "fathom-onnx"
"""What graph files of this package name as their producer."""


class Graph:
    """An ONNX model with what the package needs to know about it.

    Attributes:
        model: The model, its model-local functions written out; not to be changed.
        name: A short name: the file's stem, or the workload's.
        path: Where it was read from, or None.
        given_sizes: Dimensions of inputs that the model leaves open and that were given a size.
        metadata: The metadata of one of our graphs, or None for any other.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        name: str,
        path: Path | None = None,
        given_sizes: Sequence[GivenSize] = (),
        values: Mapping[str, Array] | None = None,
    ) -> None:
        self.model = model
        self.name = name
        self.path = path
        self.given_sizes = tuple(given_sizes)
        self.metadata = GraphMetadata.read(model)
        self._values = values

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.model.graph.node)} nodes>"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the serialised model, which is the file's where it was read from one."""
        data = self.path.read_bytes() if self.path else self.model.SerializeToString(deterministic=True)
        return hashlib.sha256(data).hexdigest()

    @cached_property
    def stored_values(self) -> Mapping[str, Array]:
        """Stored starting values of variables, and the example batch, by name; none for most graphs.

        Raises:
            GraphError: The file beside the graph that holds them is missing, damaged or another graph's.
        """
        if self._values is not None:
            return self._values
        if self.path is None or self.metadata is None or not self.metadata.values:
            return {}
        return read_values(self.path.parent / self.metadata.values, self.metadata.values_sha256)

    @property
    def weights_folder(self) -> Path | None:
        """Folder in which the files of external weights lie; None where the graph has none of them."""
        external = any(True for _ in external_tensors(self.model))
        return self.path.parent.resolve() if self.path and external else None

    def with_weights(self) -> Graph:
        """The graph with its external weights read into its model; the graph itself where it has none.

        Raises:
            GraphError: They cannot be read, or a model cannot hold them: no more than 2 GB.
        """
        if self.path is None or self.weights_folder is None:
            return self
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        read_weights(model, self.path)
        return Graph(model, self.name, self.path, self.given_sizes, self._values)

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
        return tensors_of(self.model.graph)

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


def _checked(
    model: onnx.ModelProto,
    name: str,
    path: Path | None,
    dimensions: Mapping[str, int],
    *,
    to_run: bool,
    values: Mapping[str, Array] | None = None,
) -> Graph:
    dynamic = list(open_dimensions(model.graph))
    fix_dimensions(model, dimensions, name, all_of_them=to_run)
    sized = [d for d in dynamic if d.dimension.HasField("dim_value")]
    given = [GivenSize(d.label, d.input, d.axis, d.dimension.dim_value) for d in sized]
    if not model.graph.node:
        raise GraphError(f"graph '{name}' has no nodes", "give a model with at least one")
    refuse_endless(model, name)
    refuse_long_slices(model, name)
    put_in_order(model)
    align_versions(model)
    try:
        check(model)
        model = without_functions(model) if to_run else model
        infer_shapes(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, MemoryError) as error:
        refusal = explain(error)
        raise GraphError(
            f"'{name}' is not a valid ONNX graph ({refusal.reason})", refusal.advice_or("check the file")
        ) from error
    refuse_gigantic(model, name)
    return Graph(model, name, path, given, values)


def from_model(
    model: onnx.ModelProto,
    name: str,
    path: Path | None = None,
    dimensions: Mapping[str, int] | None = None,
    values: Mapping[str, Array] | None = None,
) -> Graph:
    """A graph from a model in memory, checked and with shapes inferred where they were missing.

    Args:
        model: The model.
        name: Its short name.
        path: Where it was read from.
        dimensions: Sizes of open dimensions.
        values: Stored starting values of its variables, and its example batch; read beside ``path`` by default.

    Raises:
        GraphError: The model is not valid, or has dynamic input dimensions without a value.
        UnknownNameError: ``dimensions`` names one that the graph does not have.
    """
    own = onnx.ModelProto()
    own.CopyFrom(model)
    refuse_unreadable(own, name)
    return _checked(own, name, path, dimensions or {}, to_run=True, values=values)


def load(path: str | Path, dimensions: Mapping[str, int] | None = None) -> Graph:
    """Read and check a graph file; external weights stay in their files.

    Args:
        path: An ``.onnx`` file.
        dimensions: Sizes of open dimensions, by name (``N``), expression (``2*N``) or ``input.axis``.

    Raises:
        GraphError: No such file, not ONNX, cut short, invalid, or dynamic without values.
    """
    path = Path(path)
    return _checked(read_model(path, to_run=True), path.stem, path, dimensions or {}, to_run=True)


def load_exported(path: str | Path) -> Graph:
    """Read a graph file that was exported just now: this package's exporters check what they write.

    That is not done again, which takes longer than reading; the file of another producer is checked.

    Args:
        path: The file.

    Raises:
        GraphError: As of :func:`load`.
    """
    path = Path(path)
    model = read_model(path, to_run=True)
    return Graph(model, path.stem, path) if model.producer_name == PRODUCER else load(path)


def load_structure(path: str | Path, dimensions: Mapping[str, int] | None = None) -> Graph:
    """Read a graph file to look at it and not to run it.

    Files of external weights are not read and need not be there, and dynamic dimensions without a value stay so.

    Args:
        path: An ``.onnx`` file.
        dimensions: Sizes of open dimensions, by name (``N``), expression (``2*N``) or ``input.axis``.

    Raises:
        GraphError: No such file, not ONNX, cut short or invalid.
        UnknownNameError: ``dimensions`` names one that the graph does not have.
    """
    path = Path(path)
    return _checked(read_model(path, to_run=False), path.stem, path, dimensions or {}, to_run=False)
