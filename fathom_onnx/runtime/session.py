"""Sessions: opening one, with values and operators that its model does not hold, and a watch on its runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fathom_onnx.errors import OutputError, RunError
from fathom_onnx.refusals import explain
from fathom_onnx.runtime.providers.cuda_libraries import session_fault
from fathom_onnx.runtime.providers.names import FATAL_ONLY, check_provider, onnxruntime
from fathom_onnx.runtime.providers.placement import assigned_elsewhere, refuse_compute
from fathom_onnx.workloads.contract import Array

from .prepare import Prepared
from .settings import LEVELS, SessionSettings

__all__ = ["Watch", "give_folder", "give_operators", "give_values", "open_session"]

_NOT_WRITTEN = ("Failed to write external initializers", "Protobuf serialization failed", "No space left on device")
"""What onnxruntime says when it cannot save an optimized model."""

_INTERVAL_S = 0.5
"""Seconds between two looks of a watch: a run is ended at most so much later than it should."""


def give_values(ort: Any, options: Any, values: Mapping[str, Array]) -> list[Any]:
    """Give a session the values of initializers that its model only declares.

    Returns:
        What must stay alive as long as the session: onnxruntime borrows the memory.
    """
    given = [ort.OrtValue.ortvalue_from_numpy(np.asarray(value, order="C")) for value in values.values()]
    if given:
        options.add_external_initializers(list(values), given)
    return given


def give_folder(options: Any, folder: Path | None) -> None:
    """Tell a session in which folder the files of a model's external weights lie."""
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))


def give_operators(options: Any, libraries: Sequence[Path]) -> None:
    """Register libraries of operators of someone's own.

    Raises:
        RunError: One of them cannot be loaded.
    """
    for library in libraries:
        try:
            options.register_custom_ops_library(str(library.resolve()))
        except Exception as error:
            refusal = explain(error)
            raise RunError(
                f"library '{library}' cannot be registered ({refusal.reason})",
                refusal.advice_or("give a library of onnxruntime operators, built for this version, with --custom-ops"),
            ) from error


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
        OutputError: The optimized model cannot be written.
    """
    provider = check_provider(settings.ep)
    ort = onnxruntime(provider.extra)
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
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
    give_operators(options, settings.custom_ops)
    if isinstance(source, Prepared):
        give_folder(options, source.folder)
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
        refusal = explain(error)
        if optimized_to is not None and any(said in str(error) for said in _NOT_WRITTEN):
            raise OutputError(
                f"onnxruntime cannot write '{optimized_to}' ({refusal.reason})",
                "free some space or choose another folder",
            ) from error
        raise RunError(
            f"onnxruntime cannot build a session on '{settings.ep}' ({refusal.reason})",
            refusal.advice_or(
                "check the graph, or allow nodes on the CPU with --allow-fallback"
                if settings.ep != "cpu"
                else "check that the graph uses operators this onnxruntime has"
            ),
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


class Watch:
    """A watch on a session's runs: one that takes too long is ended by onnxruntime, between two nodes.

    A loop may run 2^62 times, and says so or not: what a file asks for is not always what its reader can wait for. The
    watch is a context manager around each run.

    One thread looks now and then. A run with options takes onnxruntime some 0.2 ms longer than one without, so that a
    watch is for graphs that can run on and on: those with loops.

    Args:
        ort: The onnxruntime module.
        longest_s: Seconds that a run may take.

    Attributes:
        options: What a run must be given so that it can be ended.
        ended: Whether the last run was ended.
    """

    def __init__(self, ort: Any, longest_s: float) -> None:
        self.options = ort.RunOptions()
        self.options.log_severity_level = FATAL_ONLY
        self.longest_s = longest_s
        self.ended = False
        self._until = float("inf")
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self.ended = False
        self._until = time.monotonic() + self.longest_s
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until = float("inf")
        self.options.terminate = False

    def _look(self) -> None:
        while True:
            time.sleep(_INTERVAL_S)
            if time.monotonic() > self._until:
                self.ended = True
                self.options.terminate = True
