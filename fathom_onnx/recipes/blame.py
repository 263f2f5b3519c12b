"""Where in a user's own code an error arose."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

__all__ = ["user_line"]

_INSTALLED = frozenset({"site-packages", "dist-packages", "fathom_exporters"})
_NOT_THE_USERS = (Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1])


def user_line(error: BaseException) -> str:
    """File and line of the innermost call in code that is the user's own; empty where there is none.

    Not the user's are installed packages, Python's library and this package.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(Path(error.filename))}:{error.lineno}"
    places = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(path, line) for path, line in places if _is_the_users(path)]
    return f"{_shown(own[-1][0])}:{own[-1][1]}" if own else ""


def _is_the_users(path: Path) -> bool:
    elsewhere = any(path.is_relative_to(folder) for folder in _NOT_THE_USERS)
    return path.is_absolute() and not elsewhere and not _INSTALLED & set(path.parts)


def _shown(path: Path) -> str:
    """A path as short as it can be given from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
