"""The metadata of a graph file: workload, framework, parameters with initialisers, state pairs.

It is one JSON object under one key of the model's metadata, so that a graph file is enough to run a workload:
the weights come from the initialisers and a seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import onnx

from fathom_onnx.errors import GraphError
from fathom_onnx.workloads.contract import Initialiser, Mode, NoiseSource, Variable, Workload

__all__ = ["KEY", "PURPOSES", "SCHEMA", "GraphMetadata", "Purpose", "purpose_named"]

KEY = "fathom_onnx"
"""Key of the metadata in a model's ``metadata_props``."""

SCHEMA = "fathom-onnx/graph/1"
"""Name and version of the JSON schema."""

Purpose = Literal["simulators", "onnxruntime", "cuda"]
"""What a graph is exported for, which decides the form of its gradients.

``simulators`` takes the ops that most consumers read; ``onnxruntime`` the forms that its CPU kernels run fastest;
``cuda`` those that its CUDA provider has kernels for. The files in ``graphs/`` are for simulators."""

PURPOSES: tuple[Purpose, ...] = ("simulators", "onnxruntime", "cuda")
"""All purposes."""

_OPTIONAL = (
    "values",
    "values_sha256",
    "gradients",
    "row_gradients",
    "specialised",
    "target",
    "paths",
    "draws",
    "rounded",
    "derivation",
)
"""Fields that are left out where they are empty."""

_FORMER_PURPOSES: dict[str, str] = {"plain": "simulators", "fast": "onnxruntime"}


def purpose_named(name: str | None) -> str | None:
    """A stored purpose; files of earlier versions hold other names of the first two."""
    return name if name is None else _FORMER_PURPOSES.get(name, name)


@dataclass(frozen=True)
class GraphMetadata:
    """The metadata of one of our graphs.

    Attributes:
        workload: Workload name.
        preset: Preset the configuration came from.
        config: The configuration, field to value.
        mode: ``inference`` or ``training``.
        framework: Framework that made the graph.
        framework_version: Its version.
        noise: Whether random tensors are drawn in the graph or are inputs.
        purpose: What the graph is for; stored under the key ``lowering``.
        data: The data source that feeds the batch inputs.
        variables: Parameters, buffers and optimizer state with their initialisers.
        parameters: Names of the trained variables.
        state: (output, input) pairs: which output of a step feeds which input of the next.
        values: Name of the file beside the graph that holds the stored values; empty for none.
        values_sha256: SHA-256 of that file.
        gradients: Parameter to the tensor of the graph that is its gradient, before any treatment.
        row_gradients: Parameter whose gradient is of rows, [rows read, ...], to the batch input with their numbers.
        specialised: What in the graph is true of the example batch alone, a line each: branches that it took.
        target: Of a recipe's graph, the function that built the recipe; empty for none.
        paths: Of a recipe's graph, where each input is in the recipe's batch: keys, indices and field names.
        draws: Of a recipe's graph with noise as input, the distribution of each such input.
        rounded: Constant of float32 to the numbers of double precision that elements of it were, where the shortest
            decimals of the elements are others.
        derivation: What gradients are made of: ``framework`` where all are the framework's own derivatives written
            out; empty where those of ops with a canonical gradient are the lowering's.
    """

    workload: str
    preset: str
    config: dict[str, Any]
    mode: Mode
    framework: str
    framework_version: str
    noise: NoiseSource
    purpose: Purpose
    data: str
    variables: tuple[Variable, ...]
    parameters: tuple[str, ...]
    state: tuple[tuple[str, str], ...]
    values: str = ""
    values_sha256: str = ""
    gradients: Mapping[str, str] = field(default_factory=dict)
    specialised: tuple[str, ...] = ()
    target: str = ""
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    draws: Mapping[str, Literal["normal", "uniform"]] = field(default_factory=dict)
    rounded: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    derivation: str = ""
    row_gradients: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, workload: Workload, mode: Mode, framework: str, version: str, noise: NoiseSource, purpose: Purpose
    ) -> GraphMetadata:
        """The metadata of a workload's graph."""
        return cls(
            workload=workload.name,
            preset=workload.preset,
            config=asdict(workload.config),
            mode=mode,
            framework=framework,
            framework_version=version,
            noise=noise,
            purpose=purpose,
            data=workload.data,
            variables=workload.variables(mode),
            parameters=tuple(p.name for p in workload.parameters),
            state=workload.interface(mode, noise).state,
            row_gradients=workload.row_gradients if mode == "training" else {},
        )

    def write(self, model: onnx.ModelProto) -> None:
        """Write the metadata into a model, replacing earlier metadata."""
        kept = [(p.key, p.value) for p in model.metadata_props if p.key != KEY]
        del model.metadata_props[:]
        fields = {"schema": SCHEMA, **asdict(self), "variables": [_row(v) for v in self.variables]}
        fields["lowering"] = fields.pop("purpose")
        for name in _OPTIONAL:
            if not fields[name]:
                del fields[name]
        payload = json.dumps(fields, separators=(",", ":"), sort_keys=True)
        for key, value in [*kept, (KEY, payload)]:
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value

    @classmethod
    def read(cls, model: onnx.ModelProto) -> GraphMetadata | None:
        """The metadata of a model, or None for a graph that is not ours.

        Raises:
            GraphError: The entry exists and cannot be read.
        """
        text = next((p.value for p in model.metadata_props if p.key == KEY), None)
        if text is None:
            return None
        try:
            fields = json.loads(text)
            schema = fields.pop("schema")
            if schema != SCHEMA:
                raise GraphError(f"graph metadata has schema '{schema}', not '{SCHEMA}'", "export the graph again")
            fields["purpose"] = purpose_named(fields.pop("lowering"))
            fields["variables"] = tuple(
                Variable(**{**row, "shape": tuple(row["shape"]), "initialiser": Initialiser(*row["initialiser"])})
                for row in fields["variables"]
            )
            fields["parameters"] = tuple(fields["parameters"])
            fields["state"] = tuple((a, b) for a, b in fields["state"])
            fields["specialised"] = tuple(fields.get("specialised", ()))
            fields["paths"] = {name: tuple(path) for name, path in fields.get("paths", {}).items()}
            fields["rounded"] = {name: tuple(numbers) for name, numbers in fields.get("rounded", {}).items()}
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise GraphError(f"graph metadata cannot be read ({error})", "export the graph again") from error


def _start(start: Initialiser) -> list[Any]:
    """The fields of an initialiser in order, without default values at the end."""
    fields: list[Any] = [start.kind, start.value, start.zero_row, start.centre]
    return fields if start.centre else fields[: 2 if start.zero_row is None else 3]


def _row(variable: Variable) -> dict[str, Any]:
    """A variable as JSON without default values; a graph has hundreds."""
    start = variable.initialiser
    row: dict[str, Any] = {
        "name": variable.name,
        "shape": variable.shape,
        "initialiser": _start(start),
    }
    if variable.dtype != "float32":
        row["dtype"] = variable.dtype
    if variable.starts_as:
        row["starts_as"] = variable.starts_as
    return row
