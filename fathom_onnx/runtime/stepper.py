"""A stepper: a session that is run one batch at a time, with state that persists over steps."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fathom_onnx.errors import RunError, StepError
from fathom_onnx.graph.bodies import all_nodes
from fathom_onnx.graph.static.in_place import written_in_place
from fathom_onnx.refusals import explain
from fathom_onnx.runtime.providers.cuda_libraries import session_fault
from fathom_onnx.runtime.providers.names import PROVIDERS, onnxruntime
from fathom_onnx.workloads.contract import Array

from .prepare import Prepared
from .session import Watch, open_session
from .settings import SessionSettings

__all__ = ["Stepper", "fed_value", "open_stepper", "owned_value"]

_NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def fed_value(ort: Any, value: Array, device: str) -> Any:
    """An ``OrtValue`` of an array. It borrows the array's memory, which must live as long as it."""
    if value.dtype.isbuiltin == 1:
        return ort.OrtValue.ortvalue_from_numpy(value, device, 0)
    # types that numpy does not have of itself, such as bfloat16: their bits, with the type beside them
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    bits = value.view(np.dtype(f"uint{8 * value.dtype.itemsize}"))
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, kind)


def owned_value(ort: Any, value: Array, device: str) -> Any:
    """An ``OrtValue`` that owns a copy of an array, so that no Python object has to outlive the session."""
    copy = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), value.dtype.type, device, 0)
    copy.update_inplace(np.asarray(value, order="C"))
    return copy


def _generator_seed(seed: int) -> int:
    """A seed for onnxruntime's random ops, far from the ends of its generator's range.

    A random node starts a linear congruential generator from this seed plus its own index in the graph. That generator
    takes 0 for 1, so that with seed 0 the first two nodes would draw the same numbers; near the other end too.
    """
    return int.from_bytes(hashlib.sha256(f"onnxruntime:{seed}".encode()).digest()[:4], "little") % 2**30 + 2**20


class Stepper:
    """A session and its state, stepped with one batch at a time.

    The state lives in two sets of device buffers. A step reads one set and writes the other, never the same one:
    onnxruntime may write an output before it has read the input in the same buffer. Where it cannot, in tables of which
    a step changes some rows (:mod:`fathom_onnx.graph.static.in_place`), both sets have one buffer: no table is copied.

    Only tensors of numbers can be bound to buffers. A graph with text or sequences among its inputs and outputs is run
    with values handed over in each step.

    Args:
        session: The session.
        settings: How it runs.
        state: (output, input) pairs.
        initial: Starting values of the state inputs, by input name.
        watch: What ends a step that takes too long; None where no step can.
        in_place: State inputs whose new values can be written into their buffers.
    """

    def __init__(
        self,
        session: Any,
        settings: SessionSettings,
        state: tuple[tuple[str, str], ...] = (),
        initial: Mapping[str, Array] | None = None,
        watch: Watch | None = None,
        in_place: frozenset[str] = frozenset(),
    ) -> None:
        self.session = session
        self._watch = watch
        self._ort = onnxruntime()
        self._device = PROVIDERS[settings.ep].device
        self._pairs = state
        carried, outputs = {i for _, i in state}, {o for o, _ in state}
        self.batch_names = tuple(i.name for i in session.get_inputs() if i.name not in carried)
        self.result_names = tuple(o.name for o in session.get_outputs() if o.name not in outputs)
        first = dict(initial or {})
        missing = [name for name in carried if name not in first]
        if missing:
            raise RunError(f"state '{missing[0]}' has no starting value", "give one for every state input")
        front = {name: self._value(first[name]) for _, name in state}
        back = {n: front[n] if n in in_place else self._value(np.zeros_like(first[n])) for _, n in state}
        self._buffers, self._in_place = [front, back], in_place
        self._front = 0
        self._types = {i.name: (_NUMPY_TYPES.get(i.type), i.shape) for i in session.get_inputs()}
        self._bound = all(_bindable(value.type) for value in [*session.get_inputs(), *session.get_outputs()])
        # a bound output keeps the buffer of its first run, which does not fit where its size depends on the data
        self._open = tuple(o.name for o in session.get_outputs() if not _sized(o.shape) and o.name not in outputs)
        self._bindings = [self._bind(0), self._bind(1)] if self._bound else []
        self.held: dict[str, Any] = {}
        """Inputs that are fed in every step that has no other values for them."""
        self._ran: Any = None
        self._results: dict[str, Any] | None = None

    def _value(self, value: Array) -> Any:
        return owned_value(self._ort, value, self._device)

    def _bind(self, front: int) -> Any:
        binding = self.session.io_binding()
        for output, name in self._pairs:
            binding.bind_ortvalue_input(name, self._buffers[front][name])
            binding.bind_ortvalue_output(output, self._buffers[1 - front][name])
        for name in self.result_names:
            binding.bind_output(name, self._device)
        return binding

    def _checked(self, name: str, batch: Mapping[str, Any]) -> Any:
        if name not in batch:
            raise RunError(f"input '{name}' is not in the batch", f"give values for {', '.join(self.batch_names)}")
        dtype, shape = self._types[name]
        if batch[name] is None or isinstance(batch[name], list):
            return batch[name]  # an optional value that is not there, or a sequence
        value = np.asarray(batch[name], order="C")
        fixed = [d if isinstance(d, int) else None for d in shape]
        # onnxruntime tells a scalar's shape as it tells one that it does not know
        fits = not shape or len(fixed) == value.ndim
        fits = fits and all(d in (None, n) for d, n in zip(fixed, value.shape, strict=False))
        if not fits or (dtype is not None and value.dtype != dtype):
            raise RunError(
                f"input '{name}' must be {dtype} {list(shape)}, not {value.dtype} {list(value.shape)}",
                "feed values of the graph's own shape and type",
            )
        return value

    def hold(self, values: Mapping[str, Any]) -> None:
        """Feed inputs with these values in every step from now on, until others take their places."""
        self.held.update(values)

    def step(self, batch: Mapping[str, Any], carry: bool = True) -> float:
        """Run one step and carry its state over; the seconds that onnxruntime's run call took.

        Args:
            batch: Input name to an array; to a list of arrays for a sequence; to None for an optional value that is
                not there.
            carry: Whether the new state is kept; where not, the next step starts from the same state again.

        Raises:
            RunError: The batch does not fit the graph.
            StepError: onnxruntime fails.
        """
        batch = {**self.held, **batch}
        given = {name: self._checked(name, batch) for name in self.batch_names}
        kept = {} if carry else {name: np.array(self._buffers[0][name].numpy()) for name in self._in_place}
        try:
            with self._watch or contextlib.nullcontext():
                elapsed = self._run_bound(given) if self._bound else self._run_unbound(given)
        except Exception as error:
            if self._watch is not None and self._watch.ended:
                raise StepError(
                    f"a step ran for more than {self._watch.longest_s:g} s and was ended",
                    "see what its loops wait for (--inputs), or give it longer (--longest-step)",
                ) from error
            fault = session_fault(str(error)) if self._device == "cuda" else None
            if fault is not None:
                raise fault from error
            refusal = explain(error)
            raise StepError(
                f"onnxruntime failed in a step ({refusal.reason})", refusal.advice_or("check the values that were fed")
            ) from error
        if self._pairs and carry:
            self._front = 1 - self._front
        for name, value in kept.items():
            self._buffers[0][name].update_inplace(value)
        return elapsed

    def _run_bound(self, given: Mapping[str, Any]) -> float:
        binding = self._bindings[self._front]
        # a value made from an array borrows its memory: all of them must live until the run is over
        fed = {name: fed_value(self._ort, value, self._device) for name, value in given.items()}
        for name, value in fed.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._open:
            binding.bind_output(name, self._device)
        # the step's time holds all its work on the device, and no copy of the batch to it
        binding.synchronize_inputs()
        started = time.perf_counter()
        self.session.run_with_iobinding(binding, self._watch and self._watch.options)
        binding.synchronize_outputs()
        elapsed = time.perf_counter() - started
        self._ran = binding
        return elapsed

    def _run_unbound(self, given: Mapping[str, Any]) -> float:
        fed = {name: value.astype(object) if _is_text(value) else value for name, value in given.items()}
        started = time.perf_counter()
        results = self.session.run(list(self.result_names), fed, self._watch and self._watch.options)
        elapsed = time.perf_counter() - started
        self._results = dict(zip(self.result_names, results, strict=True))
        return elapsed

    def results(self) -> dict[str, Any]:
        """The outputs of the last step that are not state, by name: arrays, or lists and maps where they are such.

        Raises:
            RunError: No step was run yet.
        """
        if self._results is not None:
            return dict(self._results)
        if self._ran is None:
            raise RunError("no step was run", "run one first")
        bound = self._ran.get_outputs_as_ortvaluevector()  # in the order of binding, the state first
        # the array of a bound value is its buffer, which the next step writes
        return {name: np.array(bound[place].numpy()) for place, name in enumerate(self.result_names, len(self._pairs))}

    def state(self) -> dict[str, Array]:
        """The current values of the state, by input name, as copies."""
        return {name: np.array(self._buffers[self._front][name].numpy()) for _, name in self._pairs}


def _bindable(kind: str) -> bool:
    """Whether a value of this type, as onnxruntime names it, can be bound to a buffer."""
    return kind.startswith("tensor(") and kind != "tensor(string)"


def _sized(shape: Sequence[Any]) -> bool:
    """Whether a shape, as onnxruntime tells it, is known; a scalar's is told as one that is not."""
    return bool(shape) and all(isinstance(size, int) for size in shape)


def _is_text(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "US"


def open_stepper(
    prepared: Prepared,
    settings: SessionSettings,
    *,
    model: Path | None = None,
    optimized_to: Path | None = None,
    profile_prefix: Path | None = None,
) -> Stepper:
    """A stepper of a prepared graph or, with its state, of an optimized form of it in the file ``model``.

    Raises:
        MissingDependencyError: onnxruntime or the provider is absent.
        RunError: onnxruntime refuses the model.
    """
    source = prepared if model is None else model
    # random ops without a seed of their own take it when the session is built
    onnxruntime(PROVIDERS[settings.ep].extra).set_seed(_generator_seed(prepared.seed))
    session = open_session(source, settings, optimized_to=optimized_to, profile_prefix=profile_prefix)
    loops = any(node.op_type == "Loop" for node in all_nodes(prepared.model.graph.node))
    watch = Watch(onnxruntime(), settings.longest_step_s) if loops else None
    in_place = written_in_place(prepared.model.graph, prepared.state)
    return Stepper(session, settings, prepared.state, prepared.initial, watch, in_place)
