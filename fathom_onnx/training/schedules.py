"""Learning-rate schedules: from the number of steps taken so far to the rate of the next one.

A schedule says what the learning rate of a graph is multiplied by, or the rate itself; the graph takes it as an input.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fathom_onnx.csv_files import read_csv
from fathom_onnx.errors import DataError, RunError, UnknownNameError, UsageError, one_line
from fathom_onnx.graph import Graph
from fathom_onnx.recipes.target import Target
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads.contract import RATE, Array

__all__ = ["KINDS", "Rates", "Schedule", "rate_names", "read_schedule"]

_NAME = re.compile(rf"{RATE}|optimizer\.{RATE}|optimizer\.lr(_\d+)?")
"""What a graph calls a learning rate: a workload's, a Keras optimizer's, one of each group of ``torch.optim``."""

_COLUMNS = ("step", RATE)


@dataclass(frozen=True)
class Schedule:
    """A learning-rate schedule.

    Attributes:
        name: What it is, in words; a run that is resumed must have the same.
        rate: From the steps taken so far, from 0, and the graph's own rate to the rate of the next step.
    """

    name: str
    rate: Callable[[int, float], float]


Factor = Callable[[float], float]
"""From the steps taken so far to what the graph's own rate is multiplied by."""


def _between(steps: float, end: float, shape: Factor) -> Factor:
    """From 1 to ``end`` within ``steps`` steps, and ``end`` from then on; ``shape`` goes from 1 to 0 as 0 goes to 1."""
    return lambda taken: end + (1 - end) * shape(min(taken / steps, 1.0))


def _every(steps: float, factor: float) -> Factor:
    return lambda taken: float(factor ** (taken // steps))


@dataclass(frozen=True)
class _Kind:
    """A kind of schedule.

    Attributes:
        make: From its numbers to its factor.
        numbers: Its numbers by name, each with its default: None where it must be given.
    """

    make: Callable[..., Factor]
    numbers: Mapping[str, float | None]


_RUN = -1.0
"""Stands for the steps of the run, less those of the warm-up."""

KINDS: dict[str, _Kind] = {
    "constant": _Kind(lambda: lambda taken: 1.0, {}),
    "linear": _Kind(lambda n, end: _between(n, end, lambda x: 1 - x), {"STEPS": _RUN, "END": 0.0}),
    "cosine": _Kind(
        lambda n, end: _between(n, end, lambda x: (1 + math.cos(math.pi * x)) / 2), {"STEPS": _RUN, "END": 0.0}
    ),
    "exponential": _Kind(lambda gamma: lambda taken: float(gamma**taken), {"GAMMA": None}),
    "step": _Kind(_every, {"EVERY": None, "GAMMA": 0.1}),
}
"""Kinds of schedules: what follows the name, each after a colon, is what ``numbers`` names."""

_WARM_UP = "warmup"


def read_schedule(text: str, steps: int) -> Schedule:
    """The schedule that a text names: ``[warmup:N,]KIND[:NUMBER...]``, a function, or a table.

    Args:
        text: A kind of :data:`KINDS` with its numbers, ``warmup:N`` before it for a rate that grows linearly over N
            steps, whose last has the graph's own rate; or ``FILE.py:function`` or ``package.module:function``, from the
            steps taken so far to the rate; or ``FILE.csv`` with the columns ``step`` and ``learning_rate``, whose rate
            is that of every step from there to the next row.
        steps: Steps of the run.

    Raises:
        UnknownNameError: No such kind.
        UsageError: A number is missing, too much or impossible; or a function cannot be found.
        DataError: The table cannot be read.
    """
    if text.lower().endswith(".csv"):
        return _table(Path(text))
    first, _, rest = text.partition(",")
    kind = first.partition(":")[0]
    if kind not in (*KINDS, _WARM_UP):
        if text.endswith(".py") or (":" in text and text.rpartition(":")[2].isidentifier()):
            return _function(text)
        raise UnknownNameError("schedule", kind, [*KINDS, f"{_WARM_UP}:N,...", "FILE.py:function", "FILE.csv"])
    warm_up = 0
    if kind == _WARM_UP:
        (wanted,) = _numbers(first, {"N": None})
        warm_up = int(wanted)
        first = rest or "constant"
    elif rest:
        raise UsageError(f"'{rest}' follows a schedule without an end", f"only {_WARM_UP}:N can have one after it")
    name = first.partition(":")[0]
    if name not in KINDS:
        raise UnknownNameError("schedule", name, KINDS)
    numbers = [max(steps - warm_up, 1) if n == _RUN else n for n in _numbers(first, KINDS[name].numbers)]
    factor = KINDS[name].make(*numbers)

    def rate(taken: int, own: float) -> float:
        return own * ((taken + 1) / warm_up if taken < warm_up else factor(taken - warm_up))

    told = [f"{_WARM_UP}:{warm_up}"] * bool(warm_up) + [":".join([name, *(f"{n:g}" for n in numbers)])]
    return Schedule(",".join(told), rate)


def _numbers(text: str, wanted: Mapping[str, float | None]) -> list[float]:
    """The numbers after a name, and defaults for those that are left out.

    Raises:
        UsageError: One is missing, too much, or cannot be.
    """
    name, *given = text.split(":")
    form = ":".join([name, *wanted])
    if len(given) > len(wanted):
        raise UsageError(f"schedule '{text}' has {len(given)} numbers", f"write it as {form}")
    found = []
    for index, (number, default) in enumerate(wanted.items()):
        if index >= len(given):
            if default is None:
                raise UsageError(f"schedule '{text}' has no {number}", f"write it as {form}")
            found.append(default)
            continue
        try:
            value = float(given[index])
        except ValueError:
            raise UsageError(f"{number} of schedule '{text}' is no number", f"write it as {form}") from None
        counts = number in ("STEPS", "EVERY", "N")
        if not (math.isfinite(value) and value >= 0) or (counts and (value < 1 or value != int(value))):
            need = "a whole number from 1 on" if counts else "a number from 0 on"
            raise UsageError(f"{number} of schedule '{text}' cannot be {given[index]}", f"give {need}")
        found.append(value)
    return found


def _function(text: str) -> Schedule:
    """A user's own function, known by a hash of the files that it is in."""
    target = Target.parse(text)
    function = target.find()

    def rate(taken: int, own: float) -> float:
        try:
            return float(function(taken))
        except Exception as error:
            raise UsageError(
                f"schedule '{text}' fails after {taken} steps ({type(error).__name__}: {one_line(error)})",
                "it takes the number of steps taken so far, and returns the learning rate",
            ) from error

    return Schedule(f"{text} {target.digest()}", rate)


def _table(path: Path) -> Schedule:
    """A table of steps and rates, known by a hash of its content."""
    try:
        rows = read_csv(path, _COLUMNS, ())
        starts, rates = (rows[name].to_numpy(dtype=float) for name in _COLUMNS)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"schedule '{path}' cannot be read ({one_line(error)})", f"give a CSV file of columns {', '.join(_COLUMNS)}"
        ) from error
    if not len(starts) or starts[0] != 1 or not (np.diff(starts) > 0).all():
        raise DataError(f"the steps of schedule '{path}' do not begin at 1 and grow", "sort its rows by step")

    def rate(taken: int, own: float) -> float:
        return float(rates[np.searchsorted(starts, taken + 1, side="right") - 1])

    return Schedule(f"{path.name} {digest}", rate)


def rate_names(graph: Graph) -> list[str]:
    """The inputs of a training graph that are learning rates: one, or one for each group of parameters of its own."""
    if graph.metadata is None:
        return []
    carried = {name for _, name in graph.metadata.state}
    scalars = [v.name for v in graph.metadata.variables if not v.shape and v.name not in carried]
    return [name for name in scalars if _NAME.fullmatch(name)]


class Rates:
    """The learning rates of a graph under a schedule. Of several, each stays in its proportion to the first.

    Args:
        graph: A training graph with its learning rate as an input.
        schedule: The schedule; or a function from the steps taken so far to the rate.
        values: Starting values that take the place of the graph's own, by name.

    Raises:
        UsageError: The graph has no such input.
    """

    def __init__(
        self,
        graph: Graph,
        schedule: Schedule | Callable[[int], float],
        values: Mapping[str, Array] | None = None,
    ) -> None:
        names = rate_names(graph)
        if not names:
            raise UsageError(
                f"the learning rate of graph '{graph.name}' is no input", "export it with --rate-input for a schedule"
            )
        known = {**variable_values(graph, 0), **(values or {})}
        self._start = {name: np.asarray(known[name]) for name in names}
        self.names = tuple(names)
        """The inputs."""
        self.first = names[0]
        """Name of the learning rate, the first one's where there are several."""
        self._own = float(self._start[self.first])
        if isinstance(schedule, Schedule):
            self._schedule = schedule
        else:
            given: Any = schedule
            name = getattr(given, "__qualname__", type(given).__qualname__)
            self._schedule = Schedule(str(name), lambda taken, own: float(given(taken)))

    @property
    def name(self) -> str:
        """The schedule's name."""
        return self._schedule.name

    def at(self, step: int) -> dict[str, Array]:
        """What a step is fed with, by input name; steps are counted from 1.

        Raises:
            RunError: It is no number from 0 on.
        """
        rate = self._schedule.rate(step - 1, self._own)
        if not (math.isfinite(rate) and rate >= 0):
            raise RunError(f"the schedule gives a learning rate of {rate} at step {step}", "let it give 0 or more")
        return {
            name: np.asarray(rate if name == self.first else rate * (float(start) / self._own), start.dtype)
            for name, start in self._start.items()
        }
