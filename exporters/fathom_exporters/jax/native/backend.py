"""XLA's client for the CPU in this process, and the number of its threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import jax

from fathom_exporters.jax.jaxprs import backend_runs
from fathom_onnx.errors import UsageError
from fathom_onnx.runtime.environment import cpu_cores

__all__ = ["on_cpu"]

_VARIABLE = "NPROC"
"""Environment variable that XLA's client reads its number of threads from when it starts; JAX has no setting for it."""

_started_with: list[int] = []
"""The number of threads that this module has started the client with."""


@contextlib.contextmanager
def on_cpu(threads: int) -> Iterator[None]:
    """While entered, JAX computes on the CPU with so many threads, which are set for the whole process.

    Raises:
        UsageError: XLA already runs with another number.
    """
    if not backend_runs():
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(threads)
        try:
            jax.local_devices(backend="cpu")
        finally:
            del os.environ[_VARIABLE]
            if before is not None:
                os.environ[_VARIABLE] = before
        _started_with.append(threads)
    current = _started_with[0] if _started_with else cpu_cores()
    if current != threads:
        raise UsageError(
            f"XLA runs with {current} threads in this process and cannot be given {threads}",
            f"profile in a process of its own, or with --threads {current}",
        )
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield
