"""From the events of PyTorch's profiler to the time of each operation, with its phase and layer.

The step opens scopes for phases and for the layers of the forward pass. A backward function has the sequence number of
the forward operation whose gradient it computes, and so its layer. An operation with neither is of an unknown phase or
layer, such as a sum of gradients, which the autograd engine computes between two backward functions. The operations of
an update are counted off over the parameters (:mod:`.updates`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from torch.profiler import record_function

from fathom_exporters.torch.stepping import OP, PHASE, SCOPE
from fathom_onnx.errors import RunError
from fathom_onnx.native import UNKNOWN, NativeOp
from fathom_onnx.workloads.contract import Mode

from .event_tree import Event
from .ops import COMPOSITE, CONVOLUTION_BACKWARD, PREFIX, canonical_op, plain_name
from .updates import FOREACH, FUSED, Trained, owners
from .users import STEP_SCOPE

__all__ = ["operation_times", "profiler_mark"]

_MARK = "fathom_onnx:"
_BACKWARD = "autograd::engine::evaluate_function"


def profiler_mark(marks: dict[str, str]) -> AbstractContextManager[Any]:
    """A scope in the profile whose name is the marks."""
    scope: AbstractContextManager[Any] = record_function(_MARK + json.dumps(marks))
    return scope


@dataclass(frozen=True)
class _Context:
    """The marks around an event: phase, layer and, within the update, the update's op."""

    phase: str = UNKNOWN
    layer: str = UNKNOWN
    op: str = ""


def _other_step(many: str) -> RunError:
    return RunError(f"the step computed {many} convolution gradients than when they were timed", "profile again")


def _operations(event: Event) -> Iterator[Event]:
    """The outermost operations below an event, in order of time."""
    for child in event.children:
        if child.name.startswith(PREFIX):
            yield child
        else:
            yield from _operations(child)


class _Reader:
    """Reads one step; keeps the layer of each sequence number and the shares that are left."""

    def __init__(self, mode: Mode, input_shares: Sequence[float], trained: Sequence[Trained]) -> None:
        self._mode, self._shares, self._trained = mode, iter(input_shares), trained
        self._layers: dict[int, str] = {}

    def whole(self, step: Event) -> Iterator[tuple[NativeOp, float]]:
        """The operations of a whole step."""
        yield from self.read(step, _Context())
        if next(self._shares, None) is not None:
            raise _other_step("fewer")

    def read(self, event: Event, context: _Context) -> Iterator[tuple[NativeOp, float]]:
        """Operations and their exclusive microseconds below an event, in order of time."""
        if event.name.startswith(PREFIX):
            yield from self._operation(event, context)
            return
        if event.name.startswith(_MARK):
            marks = json.loads(event.name.removeprefix(_MARK))
            phase, op = marks.get(PHASE, context.phase), marks.get(OP, context.op)
            context = _Context(phase, marks.get(SCOPE, context.layer), op)
            if context.op and context.layer == STEP_SCOPE:
                yield from self._update(event, context)
                return
        elif event.name.startswith(_BACKWARD):
            yield from self._backward(event)
            return
        yield from self._inside(event, context)

    def _backward(self, event: Event) -> Iterator[tuple[NativeOp, float]]:
        context = _Context("backward", self._layers.get(event.sequence_nr, UNKNOWN))
        for child in event.children:
            # besides the function itself the engine fits its results to their shapes, and sums gradients
            summed = child.name.startswith(PREFIX) and plain_name(child.name) == "add"
            yield from self.read(child, replace(context, layer=UNKNOWN) if summed else context)

    def _update(self, event: Event, context: _Context) -> Iterator[tuple[NativeOp, float]]:
        """The operations of a treatment or an update of all parameters."""
        found = list(_operations(event))
        for operation, owner in zip(found, owners([o.name for o in found], self._trained), strict=True):
            own = replace(context, layer=owner or context.layer)
            name = plain_name(operation.name)
            if name.startswith(FOREACH):
                yield from self._listed(operation, own)
            elif name.startswith(FUSED):
                yield from self._fused(operation, own)
            else:
                yield from self._operation(operation, own)

    def _listed(self, event: Event, context: _Context) -> Iterator[tuple[NativeOp, float]]:
        """An operation on a list of tensors: what it calls for each of them, and the rest of its time."""
        calls = list(_operations(event))
        rest = event.us - sum(call.us for call in calls)
        yield NativeOp(context.op, event.name, context.phase, context.layer), max(rest, 0.0)
        for call, owner in zip(calls, owners([c.name for c in calls], self._trained), strict=True):
            yield from self._operation(call, replace(context, layer=owner or context.layer))

    def _fused(self, event: Event, context: _Context) -> Iterator[tuple[NativeOp, float]]:
        """One kernel for all parameters: its time is split by their elements."""
        total = sum(p.elements for p in self._trained)
        for name, elements in self._trained:
            op = NativeOp(context.op, event.name, context.phase, name, split=len(self._trained) > 1)
            yield op, event.us * elements / total

    def _inside(self, event: Event, context: _Context) -> Iterator[tuple[NativeOp, float]]:
        for child in event.children:
            yield from self.read(child, context)

    def _operation(self, event: Event, context: _Context) -> Iterator[tuple[NativeOp, float]]:
        name = plain_name(event.name)
        if context.phase in ("forward", "loss") and event.sequence_nr >= 0:
            # an operation has the number that is next; the last of those with one number is the one that used it
            self._layers[event.sequence_nr] = context.layer
        op = NativeOp(context.op or canonical_op(name, self._mode), event.name, context.phase, context.layer)
        if name in COMPOSITE:
            yield op, event.self_us
            yield from self._inside(event, context)
        elif name == CONVOLUTION_BACKWARD:
            yield from self._gradients(op, event.us)
        else:
            yield op, event.us

    def _gradients(self, op: NativeOp, us: float) -> Iterator[tuple[NativeOp, float]]:
        share = next(self._shares, None)
        if share is None:
            raise _other_step("more")
        split = 0 < share < 1
        if share:
            yield op._replace(op="Conv2DBackInput", split=split), us * share
        if share < 1:
            yield op._replace(op="Conv2DBackFilter", split=split), us * (1 - share)


def operation_times(
    step: Event, mode: Mode, input_shares: Sequence[float], trained: Sequence[Trained] = ()
) -> Iterator[tuple[NativeOp, float]]:
    """Operations of a step and their exclusive microseconds, in order of time.

    Args:
        step: The event of the step; see :func:`find_step`.
        mode: Its mode.
        input_shares: For each gradient of a convolution in order, the input gradient's share of the time; the filter's
            and bias's gradients, which one kernel computes, have the rest.
        trained: The parameters that the step updates, in the optimizer's order.

    Raises:
        RunError: The step has more gradients of convolutions than there are shares, or fewer.
    """
    return _Reader(mode, input_shares, trained).whole(step)
