"""The contract of a data source: from a request for named tensors, with a seed, to an endless stream of batches."""

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
    "Split",
    "check_inputs",
    "endless_shuffle",
    "generator",
]

Batch = dict[str, Array]
"""Input name to values, for one step."""

Split = Literal["all", "training", "held-out"]
"""Which of a source's data: all of it, or one of two parts that share nothing."""

SourceKind = Literal["real", "simulated", "synthetic"]
"""Recorded; made by a model of the real thing; drawn from distributions."""


def _unheard(remark: str) -> None:
    """Where nobody listens."""


class RequestedTensor(Protocol):
    """A tensor that a source must fill; a :class:`~fathom_onnx.workloads.contract.TensorSpec` is one."""

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
    """A request for batches.

    Attributes:
        specs: The tensors of a batch.
        seed: The same seed gives the same batches, on any machine.
        draws: Input name to the distribution that the synthetic source draws it from.
        examples: Input name to its values in the example batch, of a recipe.
        split: Which part of the data; a source that makes its data needs only another seed for it.
        remark: Told, in a line each, what a user should know of the data, such as records that were left out.
    """

    specs: tuple[RequestedTensor, ...]
    seed: int
    draws: Mapping[str, Draw] = field(default_factory=dict)
    examples: Mapping[str, Array] = field(default_factory=dict)
    split: Split = "all"
    remark: Callable[[str], None] = field(default=_unheard, compare=False)

    def spec(self, name: str) -> RequestedTensor | None:
        """The tensor of this name, or None where it is not requested."""
        return next((spec for spec in self.specs if spec.name == name), None)


@dataclass(frozen=True)
class Source:
    """One row of the table of data sources.

    Attributes:
        name: Its name in :attr:`Workload.data` and in the manifest of a run.
        kind: Real, simulated or synthetic.
        description: What it is and where it departs from the data set of the paper, in one line.
        open: From a request to an endless stream of batches.
        needs: Import name of the optional package that it needs; empty for none.
        stand_in: The source that is used instead where that package is not installed.
        on_disk: Whether it reads files that the user has, which have parts of their own for training and evaluation.
    """

    name: str
    kind: SourceKind
    description: str
    open: Callable[[BatchRequest], Iterator[Batch]]
    needs: str = ""
    stand_in: str = ""
    on_disk: bool = False


def generator(seed: int, label: str) -> np.random.Generator:
    """Random numbers that depend on the seed and a label only, not on the order in which inputs are requested."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}:{label}".encode()).digest()[:16], "little"))


def endless_shuffle(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Indices 0 to count - 1 in a random order, then in another, without end."""
    while True:
        yield from (int(index) for index in rng.permutation(count))


def check_inputs(request: BatchRequest, source: str, provides: Sequence[str]) -> None:
    """Check that a source has all requested inputs.

    Args:
        request: The request.
        source: Name of the source.
        provides: Names of its inputs.

    Raises:
        DataError: A requested input is not among them.
    """
    unknown = [spec.name for spec in request.specs if spec.name not in provides]
    if unknown:
        raise DataError(
            f"data source '{source}' has no input '{unknown[0]}' (it has: {', '.join(provides)})",
            "use the source 'synthetic', which draws any input",
        )
