"""Processes that the package starts, and the guard that they ask of a script.

Such a process first imports the script of the process that starts it. A script that starts processes while it is
imported would do so without end, so that such calls belong under ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import multiprocessing
import sys

from .errors import UsageError

__all__ = ["ended_at_import", "refuse_during_import"]

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
