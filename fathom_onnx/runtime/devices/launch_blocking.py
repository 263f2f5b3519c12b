"""Launches that wait for their kernels: ``CUDA_LAUNCH_BLOCKING=1``, set before CUDA begins in this process.

The driver reads the variable once, when it is initialised: later it has no effect, and nobody would notice. So it is
asked first whether it has begun.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from fathom_onnx.errors import UsageError

__all__ = ["VARIABLE", "block_launches", "cuda_has_begun", "launches_blocked", "refuse_blocking"]

VARIABLE = "CUDA_LAUNCH_BLOCKING"
"""Environment variable that makes every CUDA launch wait for its kernel."""

_LIBRARY = "libcuda.so.1"
_NOT_INITIALIZED = 3


def cuda_has_begun() -> bool:
    """Whether CUDA's driver was initialised in this process; where there is no driver it was not."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
        state = driver.cuDevicePrimaryCtxGetState
    except (OSError, AttributeError):
        return False
    flags, active = ctypes.c_uint(), ctypes.c_int()
    return int(state(0, ctypes.byref(flags), ctypes.byref(active))) != _NOT_INITIALIZED


def block_launches() -> None:
    """Have every launch of this process wait for its kernel.

    Raises:
        UsageError: CUDA has begun without it.
    """
    if os.environ.get(VARIABLE) == "1":
        return
    if cuda_has_begun():
        raise UsageError(
            "launches cannot be serialized: CUDA has begun in this process, and reads the setting only once",
            f"profile in a new process, or start this one with {VARIABLE}=1",
        )
    os.environ[VARIABLE] = "1"


@contextlib.contextmanager
def launches_blocked() -> Iterator[None]:
    """Have launches wait from here on; as it was where the block fails before CUDA has begun.

    Raises:
        UsageError: CUDA has begun without it.
    """
    before = os.environ.get(VARIABLE)
    block_launches()
    try:
        yield
    except BaseException:
        if not cuda_has_begun():
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before
        raise


def refuse_blocking() -> None:
    """Refuse to measure launches that wait as if they did not.

    Raises:
        UsageError: :data:`VARIABLE` is set.
    """
    if os.environ.get(VARIABLE, "0") not in ("", "0"):
        raise UsageError(
            f"{VARIABLE} is set, so that every launch waits for its kernel: times are not those of an ordinary step",
            "unset it and profile in a new process, or give --serialize",
        )
