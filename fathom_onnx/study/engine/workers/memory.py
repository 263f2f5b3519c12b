"""How a process that works beside others takes its memory: within a call, pages that it has had are used again.

Checks make and drop arrays of many megabytes, a gradient or a parameter in float64 each. The C library gives a block
back to the kernel at once, and the next one of its size is made of new pages, all of which the kernel fills with zeros;
NumPy asks for huge pages, for which the kernel may have to move others out of the way. Where graphs of large networks
are compared this was a third of the time.

What is available to all of them is looked at, too: a few checks of the largest graphs together take more than there is.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

__all__ = ["available_part", "give_memory_back", "keep_memory"]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``: bytes at the heap's end that are not given back, blocks outside of the heap."""
_SET_THP_DISABLE = 41
"""Linux's ``prctl`` that keeps a process from huge pages."""
_NEVER = 2**31 - 1


def keep_memory() -> None:
    """Let this process keep the memory that it has freed, in pages of the usual size; elsewhere than on Linux nothing.

    Not for processes that measure: there a step must find the memory that it finds in any application.
    """
    library = _library()
    if library is not None:
        library.prctl(_SET_THP_DISABLE, 1, 0, 0, 0)
        if hasattr(library, "mallopt"):  # which other C libraries than glibc do not have
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, _NEVER)


def give_memory_back() -> None:
    """Give the kernel what this process has kept and does not use, so that the next call of another finds it."""
    library = _library()
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def available_part() -> float:
    """The part of the machine's memory that can be had without taking it from others; 1 where Linux does not tell."""
    try:
        facts = Path("/proc/meminfo").read_text()
    except OSError:
        return 1.0
    total, available = (re.search(rf"^{name}:\s+(\d+)", facts, re.MULTILINE) for name in ("MemTotal", "MemAvailable"))
    return 1.0 if total is None or available is None else int(available[1]) / int(total[1])


def _library() -> ctypes.CDLL | None:
    """The C library, on Linux."""
    return ctypes.CDLL(None) if sys.platform == "linux" else None
