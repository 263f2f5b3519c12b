"""How many threads a process may use that works beside others."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_limits

__all__ = ["limit_threads"]

_READ_AT_START = (
    "OMP_NUM_THREADS",  # PyTorch
    "OPENBLAS_NUM_THREADS",  # SciPy
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
"""Environment variables from which libraries take the number of their threads when they are loaded."""


def limit_threads(count: int) -> None:
    """Let this process compute on so many threads, unless the user's environment says otherwise.

    Processes that all start as many threads as there are cores get in each other's way: threads wait for others by
    running in circles.

    Args:
        count: The number, for NumPy and for what is loaded from now on. onnxruntime takes its own from its sessions.
    """
    for name in _READ_AT_START:
        os.environ.setdefault(name, str(count))
    threadpool_limits(count)  # of libraries that are loaded, as NumPy's
