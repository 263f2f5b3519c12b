"""What a data source is: a row of the table, asked for batches of named tensors by a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array, Draw

__all__ = [
    "Batch",
    "BatchRequest",
    "RequestedTensor",
    "Source",
    "SourceKind",
    "check_inputs",
    "endless_shuffle",
    "generator",
]

Batch = dict[str, Array]
"""Input name to values, for one step."""

SourceKind = Literal["real", "simulated", "synthetic"]


class RequestedTensor(Protocol):
    """A tensor that a source must fill: what :class:`~fathom_onnx.workloads.contract.TensorSpec` says of one."""

    @property
    def name(self) -> str:
        """Input name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in elements, the batch axis first."""

    @property
    def dtype(self) -> str:
        """Element type as numpy names it."""


@dataclass(frozen=True)
class BatchRequest:
    """What a source is asked for.

    Attributes:
        specs: The tensors of a batch.
        seed: The same seed gives the same batches, on any machine.
        draws: How the synthetic source draws an input, by name.
    """

    specs: tuple[RequestedTensor, ...]
    seed: int
    draws: Mapping[str, Draw] = field(default_factory=dict)

    def spec(self, name: str) -> RequestedTensor | None:
        """The tensor of this name, or None where it was not asked for."""
        return next((spec for spec in self.specs if spec.name == name), None)


@dataclass(frozen=True)
class Source:
    """One row of the table of data sources.

    Attributes:
        name: Its name, as :attr:`Workload.data` and the manifest of a run spell it.
        kind: ``real`` (recorded), ``simulated`` (made by a model of the real thing) or ``synthetic`` (drawn).
        description: One line on what it is and where it departs from the data set of the paper.
        open: Gives an endless stream of batches for a request.
        needs: The optional package without which it cannot be used, as it is imported.
        stand_in: The source that a workload gets in its place where that package is not installed.
    """

    name: str
    kind: SourceKind
    description: str
    open: Callable[[BatchRequest], Iterator[Batch]]
    needs: str = ""
    stand_in: str = ""


def generator(seed: int, label: str) -> np.random.Generator:
    """Random numbers that depend on the seed and a label only, not on the order in which inputs are asked for."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}:{label}".encode()).digest()[:16], "little"))


def endless_shuffle(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Indices 0 to count - 1 in one random order after another, without end."""
    while True:
        yield from (int(index) for index in rng.permutation(count))


def check_inputs(request: BatchRequest, source: str, provides: Sequence[str]) -> None:
    """Refuse a request for inputs that a source does not have.

    Raises:
        DataError: An input is not among ``provides``.
    """
    unknown = [spec.name for spec in request.specs if spec.name not in provides]
    if unknown:
        raise DataError(
            f"data source '{source}' has no input '{unknown[0]}' (it has: {', '.join(provides)})",
            "use the source 'synthetic', which draws any input",
        )
