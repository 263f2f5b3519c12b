"""Silence on standard error for a while, unless something goes wrong."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["silent_errors"]

_STANDARD_ERROR = 2


@contextlib.contextmanager
def silent_errors() -> Iterator[None]:
    """Keep what native code writes to standard error, and give it back only where an exception ends the block."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        saved = os.dup(_STANDARD_ERROR)
        os.dup2(kept.fileno(), _STANDARD_ERROR)
        try:
            yield
        except BaseException:
            os.dup2(saved, _STANDARD_ERROR)
            kept.seek(0)
            os.write(_STANDARD_ERROR, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, _STANDARD_ERROR)
            os.close(saved)
