"""Parts registered by other packages as entry points, by framework or by another name."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, TypeVar

from .errors import MissingDependencyError, UnknownNameError, one_line

__all__ = ["framework_part", "named_part", "part_names"]

Part = TypeVar("Part")


def part_names(group: str) -> list[str]:
    """Names of the entry points in a group, in alphabetical order."""
    return sorted({point.name for point in entry_points(group=group)})


def named_part(group: str, name: str, kind: str, expected: type[Part]) -> Part:
    """The object that an entry point of another package names.

    Args:
        group: The entry-point group, which has this name.
        name: The name.
        kind: What an error calls the part.
        expected: What it must be.

    Raises:
        MissingDependencyError: It cannot be loaded, or is something else.
    """
    points = {point.name: point for point in entry_points(group=group)}
    try:
        loaded = points[name].load()
    except Exception as error:  # whatever the other package does when it is imported
        raise MissingDependencyError(
            f"{kind} '{name}' of another package cannot be loaded ({type(error).__name__}: {one_line(error, 200)})",
            "install what that package needs, or remove it",
        ) from error
    if not isinstance(loaded, expected):
        raise MissingDependencyError(
            f"entry point '{name}' of group '{group}' is no {expected.__name__} but of type {type(loaded).__name__}",
            f"name the {expected.__name__} itself, or remove that package",
        )
    return loaded


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
        raise UnknownNameError(kind, framework, part_names(group))
    try:
        return points[framework].load()()
    except ImportError as error:
        raise MissingDependencyError(
            f"framework '{framework}' cannot be used ({one_line(error, 120)})",
            f"pip install 'fathom-onnx[{framework}]'",
        ) from error
