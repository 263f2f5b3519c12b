"""Processes that the package starts: the guard that they ask of a script, and how much memory they may take.

Such a process first imports the script of the process that starts it. A script that starts processes while it is
imported would do so without end, so that such calls belong under ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import multiprocessing
import re
import sys

from .errors import UsageError

__all__ = ["ended_at_import", "limit_memory", "refuse_during_import"]

_GUARD = 'if __name__ == "__main__":'


def _script() -> str:
    """The script of the running program, in words."""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return f"script '{path}'" if path else "script"


def refuse_during_import(name: str) -> None:
    """Refuse to start processes in a process that is just importing the script.

    Args:
        name: The function that was called.

    Raises:
        UsageError: This is such a process: the call has no guard.
    """
    # multiprocessing itself tells by this mark, but only when a process is started, after locks are taken
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            f"a worker process that imported the script called {name} again", f"put the call under {_GUARD}"
        )


def ended_at_import() -> UsageError:
    """The error for a process that ended by itself before it could work; what it printed says why."""
    return UsageError(
        f"a worker process ended while it imported the {_script()}", f"put what the script does under {_GUARD}"
    )


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def limit_memory(size: str) -> None:
    """Limit the address space of this process and of those that it starts; more is refused, and is a MemoryError.

    Args:
        size: Bytes, as a number or with a unit: ``4GB``, ``500 MB``.

    Raises:
        UsageError: It is no size, or this system has no such limit.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", size, re.IGNORECASE)
    if match is None:
        raise UsageError(f"'{size}' is no size of memory", "give one such as 4GB or 500MB")
    try:
        import resource
    except ImportError as error:  # not on this system
        raise UsageError("this system has no limit of memory for a process", "leave --max-memory out") from error
    limit = int(float(match[1]) * _UNITS[match[2].upper()])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
