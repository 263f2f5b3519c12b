"""Calls of the command line in copies of a process that has imported everything: a kill meets work, not imports."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkProcess

__all__ = ["call", "started"]

_CONTEXT = multiprocessing.get_context("fork")
_IMPORTS = (
    *("torch", "fathom_exporters.torch", "onnxruntime", "pandas", "scipy.stats"),
    *("fathom_onnx.cli", "fathom_onnx.profiling"),
)


def started(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> ForkProcess:
    """Start a call, which says nothing.

    Args:
        arguments: Those of ``fathom-onnx``.
        environment: Variables that it has besides.
    """
    for name in _IMPORTS:
        importlib.import_module(name)
    process = _CONTEXT.Process(target=_called, args=(list(arguments), dict(environment or {})))
    process.start()
    return process


def call(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Make a call, which has to succeed.

    Raises:
        RuntimeError: It fails.
    """
    process = started(arguments, environment)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"exit code {process.exitcode}: {' '.join(arguments)}")


def _called(arguments: list[str], environment: Mapping[str, str]) -> None:
    from fathom_onnx.cli import main

    os.environ.update(environment)
    tempfile.tempdir = None  # which is read from the environment
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    sys.argv = ["fathom-onnx", *arguments]
    main(arguments)
