"""Where in a user's own code an error arose, or in the library that the user's model is from."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

__all__ = ["calling_line", "is_blamed", "short_path", "user_line"]

_INSTALLED = frozenset({"site-packages", "dist-packages", "fathom_exporters"})
_FRAMEWORKS = frozenset(
    {"torch", "functorch", "tensorflow", "keras", "jax", "jaxlib", "optax", "numpy", "fathom_exporters"}
)
_NOT_THE_USERS = (Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1])


def user_line(error: BaseException) -> str:
    """File and line of the innermost call in code that is the user's own; empty where there is none.

    Not the user's are installed packages, Python's library and this package. Where the error arose in a package that
    models are from, further in than all of the user's code, the line is that package's.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{short_path(Path(error.filename))}:{error.lineno}"
    return _innermost(reversed(list(traceback.walk_tb(error.__traceback__))))


def calling_line() -> str:
    """File and line of the innermost call that runs now, in code as for :func:`user_line`."""
    return _innermost(traceback.walk_stack(None))


def _innermost(frames: Iterable[tuple[FrameType, int]]) -> str:
    """File and line of the first of frames that is the user's or a model's."""
    for frame, line in frames:
        path = Path(frame.f_code.co_filename)
        if is_blamed(path):
            return f"{short_path(path)}:{line}"
    return ""


def is_blamed(path: Path) -> bool:
    """Whether a file is the user's own, or of a package that models are from."""
    return _is_the_users(path) or _is_of_a_model(path)


def _is_of_a_model(path: Path) -> bool:
    """Whether a file is of an installed package that is no framework."""
    package = _in_package(path)
    return bool(package) and package[0] not in _FRAMEWORKS


def _in_package(path: Path) -> tuple[str, ...]:
    """The parts of a path from its installed package on; none where it is in no such."""
    for place in ("site-packages", "dist-packages"):
        if place in path.parts:
            return path.parts[path.parts.index(place) + 1 :]
    return ()


def _is_the_users(path: Path) -> bool:
    elsewhere = any(path.is_relative_to(folder) for folder in _NOT_THE_USERS)
    return path.is_absolute() and not elsewhere and not _INSTALLED & set(path.parts)


def short_path(path: Path) -> str:
    """A path as short as it can be given from here, or from where packages are."""
    package = _in_package(path)
    if package:
        return str(Path(*package))
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
