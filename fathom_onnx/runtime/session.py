"""Sessions: opening one, and stepping it with state that persists over steps."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fathom_onnx.errors import RunError, one_line
from fathom_onnx.runtime.providers.cuda_libraries import session_fault
from fathom_onnx.runtime.providers.names import PROVIDERS, check_provider, onnxruntime
from fathom_onnx.runtime.providers.placement import assigned_elsewhere, refuse_compute
from fathom_onnx.workloads.contract import Array

from .prepare import Prepared
from .settings import LEVELS, SessionSettings

__all__ = ["Stepper", "open_session", "open_stepper"]

_ERRORS_ONLY = 3
_NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def give_values(ort: Any, options: Any, values: Mapping[str, Array]) -> list[Any]:
    """Give a session the values of initializers that its model only declares.

    Returns:
        What must stay alive as long as the session: onnxruntime borrows the memory.
    """
    given = [ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value)) for value in values.values()]
    if given:
        options.add_external_initializers(list(values), given)
    return given


def owned_value(ort: Any, value: Array, device: str) -> Any:
    """An ``OrtValue`` that owns a copy of an array, so that no Python object has to outlive the session."""
    copy = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), value.dtype.type, device, 0)
    copy.update_inplace(np.ascontiguousarray(value).reshape(value.shape))
    return copy


def _generator_seed(seed: int) -> int:
    """A seed for onnxruntime's random ops, far from the ends of its generator's range.

    A random node starts a linear congruential generator from this seed plus its own index in the graph. That generator
    takes 0 for 1, so that with seed 0 the first two nodes would draw the same numbers; near the other end too.
    """
    return int.from_bytes(hashlib.sha256(f"onnxruntime:{seed}".encode()).digest()[:4], "little") % 2**30 + 2**20


def open_session(
    source: Prepared | Path,
    settings: SessionSettings,
    *,
    optimized_to: Path | None = None,
    profile_prefix: Path | None = None,
) -> Any:
    """An onnxruntime ``InferenceSession``.

    Args:
        source: A prepared model, or the file of a model that is to be run as it is (no optimization).
        settings: How it runs.
        optimized_to: Where to save the optimized model; its weights go to a file beside it.
        profile_prefix: Turns the profiler on; the trace's file name begins with this. It must be unique to the
            session: onnxruntime adds only a time in milliseconds, and two sessions would write to one file.

    Raises:
        MissingDependencyError: onnxruntime or the provider is absent.
        RunError: onnxruntime refuses the model, the provider cannot be used, or nodes would run elsewhere that
            :mod:`.placement` does not allow there.
    """
    provider = check_provider(settings.ep)
    ort = onnxruntime(provider.extra)
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # a model from a file was optimized before: running it as it is keeps its node names
    level = "ORT_DISABLE_ALL" if isinstance(source, Path) else LEVELS[settings.optimization]
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    strict = settings.ep != "cpu" and not settings.allow_fallback
    if strict:
        # session.disable_cpu_ep_fallback would refuse the arithmetic of shapes as well, which belongs on the CPU
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if optimized_to is not None:
        options.optimized_model_filepath = str(optimized_to)
        name = f"{optimized_to.name}.weights"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", name)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    providers = [(provider.full_name, settings.provider_options)]
    # without it onnxruntime's own way with a provider that fails is to print so and to take the CPU
    fallback = {"enable_fallback": 0} if settings.ep != "cpu" else {}
    try:
        if isinstance(source, Path):
            session = ort.InferenceSession(str(source), options, providers=providers, **fallback)
        else:
            given = give_values(ort, options, source.values)
            data = source.model.SerializeToString()
            session = ort.InferenceSession(data, options, providers=providers, **fallback)
            session.given_values = given
    except Exception as error:
        fault = session_fault(str(error)) if settings.ep == "cuda" else None
        if fault is not None:
            raise fault from error
        raise RunError(
            f"onnxruntime cannot build a session on '{settings.ep}' ({one_line(error)})",
            "check the graph, or allow nodes on the CPU with --allow-fallback"
            if settings.ep != "cpu"
            else "check that the graph uses operators this onnxruntime has",
        ) from error
    if provider.full_name not in session.get_providers():
        raise RunError(
            f"provider '{settings.ep}' was asked for and onnxruntime left it out (it uses "
            f"{', '.join(session.get_providers())})",
            f"check the device and its driver; {provider.fix}",
        )
    if strict and isinstance(source, Prepared):
        refuse_compute(assigned_elsewhere(session, source.model, settings.ep), settings.ep)
    return session


class Stepper:
    """A session and its state, stepped with one batch at a time.

    The state lives in two sets of device buffers. A step reads one set and writes the other, never the same one:
    onnxruntime may write an output before it has read the input in the same buffer.

    Args:
        session: The session.
        settings: How it runs.
        state: (output, input) pairs.
        initial: Starting values of the state inputs, by input name.
    """

    def __init__(
        self,
        session: Any,
        settings: SessionSettings,
        state: tuple[tuple[str, str], ...] = (),
        initial: Mapping[str, Array] | None = None,
    ) -> None:
        self.session = session
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
        self._buffers = [
            {name: self._value(first[name]) for _, name in state},
            {name: self._value(np.zeros_like(first[name])) for _, name in state},
        ]
        self._front = 0
        self._types = {i.name: (_NUMPY_TYPES.get(i.type), i.shape) for i in session.get_inputs()}
        self._bindings = [self._bind(0), self._bind(1)]
        self._ran: Any = None

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

    def _checked(self, name: str, batch: Mapping[str, Array]) -> Array:
        if name not in batch:
            raise RunError(f"input '{name}' is not in the batch", f"give values for {', '.join(self.batch_names)}")
        dtype, shape = self._types[name]
        value = np.ascontiguousarray(batch[name])
        fixed = [d if isinstance(d, int) else None for d in shape]
        fits = len(fixed) == value.ndim and all(d in (None, n) for d, n in zip(fixed, value.shape, strict=True))
        if not fits or (dtype is not None and value.dtype != dtype):
            raise RunError(
                f"input '{name}' must be {dtype} {list(shape)}, not {value.dtype} {list(value.shape)}",
                "feed values of the graph's own shape and type",
            )
        return value

    def step(self, batch: Mapping[str, Array]) -> float:
        """Run one step and carry its state over; the seconds that onnxruntime's run call took.

        Raises:
            RunError: The batch does not fit the graph, or onnxruntime fails.
        """
        binding = self._bindings[self._front]
        # a value made from an array borrows its memory: all of them must live until the run is over
        fed = {
            n: self._ort.OrtValue.ortvalue_from_numpy(self._checked(n, batch), self._device, 0)
            for n in self.batch_names
        }
        for name, value in fed.items():
            binding.bind_ortvalue_input(name, value)
        try:
            # the step's time holds all its work on the device, and no copy of the batch to it
            binding.synchronize_inputs()
            started = time.perf_counter()
            self.session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            elapsed = time.perf_counter() - started
        except Exception as error:
            fault = session_fault(str(error)) if self._device == "cuda" else None
            if fault is not None:
                raise fault from error
            raise RunError(
                f"onnxruntime failed in a step ({one_line(error)})", "check the values that were fed"
            ) from error
        self._ran = binding
        if self._pairs:
            self._front = 1 - self._front
        return elapsed

    def results(self) -> dict[str, Array]:
        """The outputs of the last step that are not state, by name.

        Raises:
            RunError: No step was run yet.
        """
        if self._ran is None:
            raise RunError("no step was run", "run one first")
        bound = dict(zip((*(o for o, _ in self._pairs), *self.result_names), self._ran.get_outputs(), strict=True))
        return {name: bound[name].numpy() for name in self.result_names}

    def state(self) -> dict[str, Array]:
        """The current values of the state, by input name, as copies."""
        return {name: np.array(self._buffers[self._front][name].numpy()) for _, name in self._pairs}


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
    return Stepper(session, settings, prepared.state, prepared.initial)
