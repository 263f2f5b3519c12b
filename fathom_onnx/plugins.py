"""Parts registered by other packages as entry points, by framework."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from .errors import MissingDependencyError, UnknownNameError, one_line

__all__ = ["framework_names", "framework_part"]


def framework_names(group: str) -> list[str]:
    """Frameworks that have an entry point in a group, in alphabetical order."""
    return sorted({point.name for point in entry_points(group=group)})


def framework_part(group: str, framework: str, kind: str) -> Any:
    """The object that a framework's entry point names, constructed without arguments.

    Args:
        group: The entry-point group.
        framework: The framework.
        kind: What an error calls the part.

    Raises:
        UnknownNameError: The group has no such framework.
        MissingDependencyError: The framework is not installed.
    """
    points = {point.name: point for point in entry_points(group=group)}
    if framework not in points:
        raise UnknownNameError(kind, framework, framework_names(group))
    try:
        return points[framework].load()()
    except ImportError as error:
        raise MissingDependencyError(
            f"framework '{framework}' cannot be used ({one_line(error, 120)})",
            f"pip install 'fathom-onnx[{framework}]'",
        ) from error
