"""A user's function computed anew, equation by equation: each in the scope of its phase and layer, draws replaced.

The function is recorded once as it is. What is derived, exported and labelled is this record: nothing of the user's is
changed, and JAX gives the equations that it derives the scopes of those that they come from.

A layer is a ``jax.named_scope`` of the user's, with those around it: ``encoder.attention``. What is in no scope belongs
to the layer of the parameter that it reads, whose path without the last part that is (``dense1.kernel``); what reads
none to the layer that it takes its values from last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp

from fathom_exporters.jax.jaxprs import ClosedJaxpr, bound, is_plain_call, literal, scopes_of
from fathom_onnx.workloads.contract import Workload

__all__ = ["DrawSpec", "Replay", "draws_of"]

_DRAWS: dict[str, Literal["normal", "uniform"]] = {"_normal_real": "normal", "_uniform": "uniform"}
"""Functions of JAX by which all random numbers of a distribution are drawn: what else is drawn is made of these."""


@dataclass(frozen=True)
class DrawSpec:
    """A draw: its distribution and shape."""

    distribution: Literal["normal", "uniform"]
    shape: tuple[int, ...]


def _drawn(equation: Any) -> DrawSpec | None:
    """The draw that an equation is; None for others."""
    distribution = _DRAWS.get(str(equation.params.get("name"))) if is_plain_call(equation) else None
    return None if distribution is None else DrawSpec(distribution, tuple(equation.outvars[0].aval.shape))


def draws_of(jaxpr: Any) -> list[DrawSpec]:
    """The draws of a function in order, without those in the bodies of loops."""
    found: list[DrawSpec] = []
    for equation in jaxpr.eqns:
        drawn = _drawn(equation)
        if drawn is not None:
            found.append(drawn)
        elif is_plain_call(equation):
            found += draws_of(equation.params["jaxpr"].jaxpr)
    return found


@dataclass(frozen=True)
class _Owner:
    """The layer of a value.

    Attributes:
        layer: Its name.
        number: That of the equation that made it: later ones have larger numbers.
        of_parameter: Whether the value is a parameter, or made of parameters of one layer alone.
    """

    layer: str
    number: int = 0
    of_parameter: bool = False


@dataclass
class Replay:
    """Computes a recorded function anew.

    Attributes:
        recorded: The function.
        owners: The layer of every argument that is a parameter or a variable, None of others, in order.
        root: The layer of what belongs to none.
        layers: The layers that were met, in order.
    """

    recorded: ClosedJaxpr
    owners: Sequence[str | None]
    root: str
    layers: dict[str, None] = field(default_factory=dict)

    def __call__(
        self, arguments: Sequence[Any], draw: Callable[[DrawSpec, int], Any], labelled: bool = True
    ) -> list[Any]:
        """The results.

        Args:
            arguments: The function's arguments.
            draw: Gives random numbers, by the draw and its number.
            labelled: Whether equations get scopes.
        """
        owners = [_Owner(self.root) if name is None else _Owner(name, 0, True) for name in self.owners]
        return _Run(self, draw, labelled).of(self.recorded, arguments, owners, ())[0]


class _Run:
    """One run of a replay."""

    def __init__(self, replay: Replay, draw: Callable[[DrawSpec, int], Any], labelled: bool) -> None:
        self._replay, self._draw, self._labelled = replay, draw, labelled
        self._draws = self._equations = 0

    def of(
        self, jaxpr: ClosedJaxpr, arguments: Sequence[Any], owners: Sequence[_Owner | None], outer: tuple[str, ...]
    ) -> tuple[list[Any], list[_Owner | None]]:
        """The results of a jaxpr, and their owners."""
        inner = jaxpr.jaxpr
        values: dict[Any, Any] = dict(zip(inner.constvars, jaxpr.consts, strict=True))
        values |= dict(zip(inner.invars, arguments, strict=True))
        held: dict[Any, _Owner | None] = dict(zip(inner.invars, owners, strict=True))

        def read(atom: Any) -> tuple[Any, _Owner | None]:
            number = literal(atom)
            return (values[atom], held.get(atom)) if number is None else (atom.val, None)

        for equation in inner.eqns:
            given = [read(atom) for atom in equation.invars]
            made, of_made = self._equation(equation, [v for v, _ in given], [o for _, o in given], outer)
            values.update(zip(equation.outvars, made, strict=True))
            held.update(zip(equation.outvars, of_made, strict=True))
        results = [read(atom) for atom in inner.outvars]
        return [value for value, _ in results], [owner for _, owner in results]

    def _equation(
        self, equation: Any, given: list[Any], owners: list[_Owner | None], outer: tuple[str, ...]
    ) -> tuple[list[Any], list[_Owner | None]]:
        scopes = (*outer, *scopes_of(equation))
        drawn = _drawn(equation)
        if drawn is None and is_plain_call(equation):
            return self.of(equation.params["jaxpr"], given, owners, scopes)
        self._equations += 1
        owner = self._owner(scopes, [owner for owner in owners if owner is not None])
        if drawn is not None:
            self._draws += 1
            number, dtype = self._draws - 1, equation.outvars[0].aval.dtype
            with contextlib.ExitStack() as stack:
                for name in self._scopes(scopes, owner):
                    stack.enter_context(jax.named_scope(name))
                noise = self._draw(drawn, number)
                if drawn.distribution == "uniform":
                    low, high = (jnp.asarray(end, dtype) for end in given[1:])
                    noise = low + noise * (high - low)
            return [noise], [owner]
        made = bound(equation, given, self._scopes(scopes, owner))
        return made, [owner] * len(made)

    def _owner(self, scopes: tuple[str, ...], owners: Sequence[_Owner]) -> _Owner | None:
        """The layer of what an equation makes, by its scopes and the layers of its arguments; None for none."""
        if scopes:
            return _Owner(".".join(scopes), self._equations)
        if not owners:
            return None
        alone = all(owner.of_parameter for owner in owners) and len({owner.layer for owner in owners}) == 1
        nearest = next((owner for owner in owners if owner.of_parameter), max(owners, key=lambda o: o.number))
        return _Owner(nearest.layer, self._equations, alone)

    def _scopes(self, scopes: tuple[str, ...], owner: _Owner | None) -> tuple[str, ...]:
        """Phase and layer as scopes."""
        if not self._labelled:
            return ()
        if Workload.LOSS in scopes:
            return (Workload.LOSS,)
        layer = owner.layer if owner else self._replay.root
        self._replay.layers[layer] = None
        return ("forward", layer)
