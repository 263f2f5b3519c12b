"""Which framework a model is of: by the packages of its class and of the classes that this is derived from.

A structure of arrays (a dict, a list, a dataclass) is of the framework of the arrays or, where they are of none, of the
optimizer.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from fathom_onnx.errors import UsageError

from .batch import flatten

__all__ = ["ENTRY_POINT_GROUP", "class_packages", "framework_of", "is_model"]

ENTRY_POINT_GROUP = "fathom_onnx.recipes"
"""Entry points that map a top-level package to the exporter of the models whose classes come from it.

Their names are packages (``keras``), their values are the same objects as in the group ``fathom_onnx.exporters``.
"""

_EXPORTERS = "fathom_onnx.exporters"


def class_packages(model: Any) -> tuple[str, ...]:
    """Top-level packages of an object's class and of its bases, from the class on, each once."""
    return tuple(dict.fromkeys(base.__module__.partition(".")[0] for base in type(model).__mro__))


def _frameworks() -> dict[str, str]:
    """Top-level package to framework."""
    exporters = {point.value: point.name for point in entry_points(group=_EXPORTERS)}
    own = {name: name for name in exporters.values()}
    return own | {p.name: exporters[p.value] for p in entry_points(group=ENTRY_POINT_GROUP) if p.value in exporters}


def _found(model: Any) -> str | None:
    known = _frameworks()
    return next((known[package] for package in class_packages(model) if package in known), None)


def is_model(value: Any) -> bool:
    """Whether some framework takes an object as a model."""
    return not isinstance(value, type) and _found(value) is not None


def framework_of(model: Any, optimizer: Any = None) -> str:
    """The framework whose exporter takes a model.

    Args:
        model: The model, or a structure of the arrays that are trained.
        optimizer: The optimizer, by which a structure of arrays of no framework is known.

    Raises:
        UsageError: None does.
    """
    if isinstance(model, type):
        raise UsageError(f"the model is the class {model.__name__} itself", f"make one: {model.__name__}(...)")
    framework = _found(model) or next(filter(None, map(_found, [*flatten(model).values(), optimizer])), None)
    if framework is None:
        packages = ", ".join(sorted(_frameworks())) or "none"
        raise UsageError(
            f"no framework takes a model of class {_described(model)}",
            f"give one whose class is derived from one of these packages: {packages}",
        )
    return framework


def _described(model: Any) -> str:
    kind = type(model)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
