"""Random draws of a step as standard draws: given from outside, or made by two operations only.

Whatever a model draws (dropout, a sample, a random index) is a function of uniform numbers in [0, 1) or of standard
normal ones. :class:`Draws` computes it so. A part of the forward pass that is repeated for the backward pass must see
the draws that it saw before; PyTorch does that by setting its generator back, which stands for a position here.
"""

from __future__ import annotations

import contextlib
import math
import unittest.mock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fathom_onnx.errors import ExportError

__all__ = ["Draw", "Draws"]

Kind = Literal["uniform", "normal"]


@dataclass(frozen=True)
class Draw:
    """A standard draw: its shape and its distribution, uniform in [0, 1) or normal."""

    shape: tuple[int, ...]
    kind: Kind


class _Position(int):
    """How many draws were made: what stands for the state of the generator."""


_Formula = Callable[[Any, tuple[Any, ...], dict[str, Any], Tensor], Any]


def _options(args: tuple[Any, ...], kwargs: dict[str, Any], *named: tuple[str, float]) -> list[float]:
    """Options after the first argument, by position or name."""
    return [args[i] if i < len(args) else kwargs.get(name, usual) for i, (name, usual) in enumerate(named, 1)]


def _bernoulli(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    # an argument that has its usual value is left out: half in place, the tensor's own values otherwise
    usual = 0.5 if str(func).removeprefix("aten.").startswith("bernoulli_") else args[0]
    p = args[1] if len(args) > 1 else kwargs.get("p", usual)
    made: Tensor = (draw < p).to(args[0].dtype)
    return made


def _uniform(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    low, high = _options(args, kwargs, ("from", 0.0), ("to", 1.0))
    return draw if (low, high) == (0.0, 1.0) else draw * (high - low) + low


def _normal_in_place(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    mean, deviation = _options(args, kwargs, ("mean", 0.0), ("std", 1.0))
    return draw if (mean, deviation) == (0.0, 1.0) else draw * deviation + mean


def _normal(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    mean, deviation = args[0], args[1] if len(args) > 1 else kwargs.get("std", 1.0)
    made: Tensor = draw * deviation + mean
    return made


def _exponential(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    rate = args[1] if len(args) > 1 else kwargs.get("lambd", 1.0)
    made: Tensor = -torch.log1p(-draw) / rate
    return made


def _dropout(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> tuple[Tensor, Tensor]:
    x, p, train = args
    if train is False:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    mask = draw >= p
    return x * mask.to(x.dtype) * (0.0 if p == 1 else 1 / (1 - p)), mask


def _integers(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    numbers = [a for a in args if isinstance(a, int) and not isinstance(a, bool)]
    low, high = (0, numbers[0]) if len(numbers) == 1 else numbers[:2]
    kind = args[0].dtype if args and isinstance(args[0], Tensor) else kwargs.get("dtype") or torch.int64
    return (draw * (high - low)).floor().to(kind) + low


def _permutation(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    return draw.argsort()


def _multinomial(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    weights, count = args[:2]
    noise = -(-draw.clamp(min=1e-30).log()).log()
    # the largest of log(w) + Gumbel noise is i with probability w_i / sum(w), the largest of the rest like another draw
    made: Tensor
    if _with_replacement(args, kwargs):
        made = (weights.log().unsqueeze(-2) + noise).argmax(-1)
    elif count == 1:
        made = (weights.log() + noise).argmax(-1, keepdim=True)
    else:
        made = (weights.log() + noise).topk(count, -1).indices
    return made


def _with_replacement(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a multinomial draws several samples that may be the same: each then needs noise of its own."""
    return bool(args[2] if len(args) > 2 else kwargs.get("replacement", False)) and args[1] != 1


def _as_it_is(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], draw: Tensor) -> Tensor:
    return draw


_FORMULAS: dict[str, tuple[Kind, _Formula]] = {
    "bernoulli": ("uniform", _bernoulli),
    "bernoulli_": ("uniform", _bernoulli),
    "exponential": ("uniform", _exponential),
    "exponential_": ("uniform", _exponential),
    "multinomial": ("uniform", _multinomial),
    "native_dropout": ("uniform", _dropout),
    "normal": ("normal", _normal),
    "normal_": ("normal", _normal_in_place),
    "normal_functional": ("normal", _normal_in_place),
    "rand": ("uniform", _as_it_is),
    "rand_like": ("uniform", _as_it_is),
    "randint": ("uniform", _integers),
    "randint_like": ("uniform", _integers),
    "randn": ("normal", _as_it_is),
    "randn_like": ("normal", _as_it_is),
    "randperm": ("uniform", _permutation),
    "uniform": ("uniform", _uniform),
    "uniform_": ("uniform", _uniform),
}
"""Random operation of aten, without overload, to the standard draw that it takes and what it makes of it."""

_REFUSED = (
    "binomial",
    "cauchy_",
    "geometric_",
    "log_normal_",
    "poisson",
    "random_",
    "_standard_gamma",
    "rrelu_with_noise",
)


def _shape(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    """The shape of an operation's standard draw."""
    if name == "multinomial" and _with_replacement(args, kwargs):
        return (*args[0].shape[:-1], int(args[1]), args[0].shape[-1])
    tensors = [a for a in args if isinstance(a, Tensor)]
    if tensors:
        return tuple(torch.broadcast_shapes(*(t.shape for t in tensors)))
    if name == "randperm":
        return (args[0],)
    return tuple(next(a for a in args if isinstance(a, list | tuple | torch.Size)))


class Draws(TorchDispatchMode):
    """While entered, every random operation is computed from a standard draw.

    Args:
        given: The standard draws in the order in which the step takes them; None to draw them.

    Attributes:
        made: What was drawn so far.
    """

    def __init__(self, given: Sequence[Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = given
        self._values: list[Tensor] = []
        self._position = 0
        self.made: list[Draw] = []

    def _standard(self, draw: Draw, dtype: torch.dtype) -> Tensor:
        position = self._position
        self._position += 1
        if position < len(self._values):  # a repeated part of the forward pass
            return self._values[position]
        if self._given is not None:
            if position >= len(self._given) or tuple(self._given[position].shape) != draw.shape:
                raise ExportError("the step does not draw the random numbers that it drew before")
            value = self._given[position].to(dtype)
        else:
            value = (torch.rand if draw.kind == "uniform" else torch.randn)(draw.shape, dtype=dtype)
        self.made.append(draw)
        self._values.append(value)
        return value

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func).removeprefix("aten.").partition(".")[0]
        if name in _REFUSED:
            raise ExportError(f"'{name}' cannot be drawn in a graph", "draw from a uniform or a normal distribution")
        if name not in _FORMULAS:
            return func(*args, **kwargs)
        kind, formula = _FORMULAS[name]
        tensors = [a for a in args if isinstance(a, Tensor) and a.is_floating_point()]
        dtype = tensors[0].dtype if tensors else kwargs.get("dtype") or torch.get_default_dtype()
        dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
        shape = _shape(name, args, kwargs)
        if not math.prod(shape):
            return func(*args, **kwargs)
        result = formula(func, args, kwargs, self._standard(Draw(shape, kind), dtype))
        return args[0].copy_(result) if name.endswith("_") else result

    def __enter__(self) -> Draws:
        self._patches = contextlib.ExitStack()
        for name, instead in (("get_rng_state", self._here), ("set_rng_state", self._go_to)):
            self._patches.enter_context(unittest.mock.patch.object(torch, name, instead))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._patches.close()

    def _here(self) -> _Position:
        return _Position(self._position)

    def _go_to(self, state: Any) -> None:
        if isinstance(state, _Position):
            self._position = int(state)
