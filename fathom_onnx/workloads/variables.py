"""Named tensors of a workload: inputs and how to draw stand-in values, variables and their initial values, noise."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fathom_onnx.errors import GraphError

__all__ = ["Array", "Draw", "Initialiser", "Noise", "TensorSpec", "Variable", "initial_values"]

Array = npt.NDArray[Any]
"""A NumPy array of any shape and type."""


@dataclass(frozen=True)
class Draw:
    """The distribution that stand-in values of an input are drawn from where no data source provides it.

    Attributes:
        kind: ``uniform`` (``low`` to ``high``), ``normal`` (mean 0, standard deviation ``high``), ``one_hot`` (one
            class along the last axis) or ``integers`` (``low`` inclusive to ``high`` exclusive).
        low: Lower bound.
        high: Upper bound, or standard deviation.
    """

    kind: Literal["uniform", "normal", "one_hot", "integers"] = "uniform"
    low: float = 0.0
    high: float = 1.0

    def sample(self, shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
        """An array of ``shape`` and ``dtype``."""
        if self.kind == "uniform":
            values: Array = rng.uniform(self.low, self.high, shape)
        elif self.kind == "normal":
            values = rng.normal(0.0, self.high, shape)
        elif self.kind == "integers":
            values = rng.integers(int(self.low), int(self.high), shape)
        else:
            values = np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
        return values.astype(dtype)


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor of an interface.

    Attributes:
        name: The tensor's name.
        shape: Its shape in elements.
        dtype: Its element type as numpy names it.
        meaning: What its values are, in words.
        draw: How stand-in values are drawn.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    meaning: str = ""
    draw: Draw = field(default_factory=Draw)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Initialiser:
    """The distribution of a variable's initial values.

    Attributes:
        kind: ``constant`` (``value``), ``normal`` (mean 0, standard deviation ``value``), ``uniform`` (-``value`` to
            ``value``) or ``stored``: no formula gives them, they are kept beside the graph.
        value: The constant, the standard deviation or the bound.
        centre: What is added to a normal or uniform draw: its mean.
        zero_row: A row along the first axis that starts at zero whatever the kind: the nil word of an embedding.
    """

    kind: Literal["constant", "normal", "uniform", "stored"]
    value: float
    zero_row: int | None = None
    centre: float = 0.0

    @classmethod
    def constant(cls, value: float) -> Initialiser:
        """Every element ``value``."""
        return cls("constant", value)

    @classmethod
    def stored(cls) -> Initialiser:
        """Values that are kept beside the graph."""
        return cls("stored", 0.0)

    @classmethod
    def he_normal(cls, fan: int) -> Initialiser:
        """Normal with variance 2 / fan (He et al. 2015, arXiv:1502.01852, eq. 10)."""
        return cls("normal", math.sqrt(2.0 / fan))

    @classmethod
    def glorot_uniform(cls, fan_in: int, fan_out: int) -> Initialiser:
        """Uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
        return cls("uniform", math.sqrt(6.0 / (fan_in + fan_out)))

    @property
    def label(self) -> str:
        """The kind, its centre where that is not zero, and the row that starts at zero where there is one."""
        kind = f"{self.kind} around {self.centre:.4g}" if self.centre else self.kind
        return kind if self.zero_row is None else f"{kind}, row {self.zero_row} zero"

    def sample(self, name: str, shape: tuple[int, ...], dtype: str, seed: int) -> Array:
        """The initial values of variable ``name``; they depend on the seed and the name only, not on any order.

        Raises:
            GraphError: They are stored, and no formula gives them.
        """
        if self.kind == "stored":
            raise GraphError(
                f"the values of '{name}' are kept beside its graph", "give them, or export the graph again"
            )
        values = self._sample(name, shape, dtype, seed)
        if self.zero_row is not None:
            values[self.zero_row] = 0
        return values

    def _sample(self, name: str, shape: tuple[int, ...], dtype: str, seed: int) -> Array:
        if self.kind == "constant":
            return np.full(shape, self.value, dtype=dtype)
        key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "little")
        rng = np.random.default_rng(key)
        if self.kind == "normal":
            return rng.normal(self.centre, self.value, shape).astype(dtype)
        return rng.uniform(self.centre - self.value, self.centre + self.value, shape).astype(dtype)


@dataclass(frozen=True)
class Variable:
    """A tensor that persists over steps: a parameter, a running statistic, an optimizer slot, a frozen copy, a cache.

    Attributes:
        name: Its name, ``<layer>.<part>``.
        shape: Its shape in elements.
        initialiser: Its initial values.
        dtype: Its element type as numpy names it.
        starts_as: For a copy of a parameter, the name of the variable whose initial values it shares; else empty.
    """

    name: str
    shape: tuple[int, ...]
    initialiser: Initialiser
    dtype: str = "float32"
    starts_as: str = ""

    @property
    def layer(self) -> str:
        """The layer that owns it: ``layer1.0.conv1`` for ``layer1.0.conv1.weight``."""
        return self.name.rpartition(".")[0]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def spec(self) -> TensorSpec:
        """The variable as a tensor of an interface."""
        return TensorSpec(self.name, self.shape, self.dtype)

    def initial_value(self, seed: int) -> Array:
        """The initial values for a seed."""
        return self.initialiser.sample(self.starts_as or self.name, self.shape, self.dtype, seed)

    @property
    def next(self) -> TensorSpec:
        """The output of a step that holds its new value."""
        return TensorSpec(f"{self.name}.next", self.shape, self.dtype)


def initial_values(
    variables: Iterable[Variable], seed: int, stored: Mapping[str, Array] = MappingProxyType({})
) -> dict[str, Array]:
    """Initial values by name, drawn by several threads: NumPy draws without Python's lock.

    Args:
        variables: The variables.
        seed: The seed.
        stored: Values that are not drawn, by name.

    Raises:
        GraphError: A variable's values are stored, and not given.
    """

    def value(variable: Variable) -> Array:
        return stored[variable.name] if variable.name in stored else variable.initial_value(seed)

    wanted = list(variables)
    with ThreadPoolExecutor() as threads:
        return dict(zip((v.name for v in wanted), threads.map(value, wanted), strict=True))


@dataclass(frozen=True)
class Noise:
    """A random tensor that a step draws itself; with ``--noise input`` it is an input of this name instead."""

    name: str
    shape: tuple[int, ...]
    distribution: Literal["normal", "uniform"] = "normal"

    @property
    def spec(self) -> TensorSpec:
        """The noise as an input."""
        draw = Draw("normal") if self.distribution == "normal" else Draw("uniform")
        return TensorSpec(self.name, self.shape, "float32", f"{self.distribution} noise", draw)
