"""Silence on standard error while a block runs, unless it fails."""

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
    """Capture what is written to standard error, by native code too; write it out only if the block raises."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        saved = os.dup(_STANDARD_ERROR)
        os.dup2(captured.fileno(), _STANDARD_ERROR)
        try:
            yield
        except BaseException:
            os.dup2(saved, _STANDARD_ERROR)
            captured.seek(0)
            os.write(_STANDARD_ERROR, captured.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, _STANDARD_ERROR)
            os.close(saved)
