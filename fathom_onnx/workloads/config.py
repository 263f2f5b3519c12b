"""Workload configurations: frozen dataclasses whose fields cite their source, with presets and overrides by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from fathom_onnx.errors import UnknownNameError, UsageError

from .contract import Workload

__all__ = ["Definition", "override", "setting", "settings"]


def setting(default: Any, source: str) -> Any:
    """A configuration field: its published value as default, and the source of that value."""
    return dataclasses.field(default=default, metadata={"source": source})


def settings(config: Any) -> list[tuple[str, Any, str]]:
    """Rows of (field, value, source) of a configuration."""
    return [(f.name, getattr(config, f.name), f.metadata.get("source", "")) for f in dataclasses.fields(config)]


def _parse(kind: Any, name: str, text: str) -> Any:
    """``text`` as a value of a field's type: int, float, or a comma-separated tuple of int."""
    try:
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
        if kind is str:
            return text
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        expected = {int: "a whole number", float: "a number"}.get(kind, "whole numbers separated by commas")
        raise UsageError(f"field '{name}' cannot be '{text}'", f"give {expected}") from None


def override(config: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of ``config`` with some fields changed; text values are parsed by the field's type.

    Raises:
        UnknownNameError: A name is not a field.
        UsageError: A text is not a value of the field's type, or a number is not above zero.
    """
    kinds = get_type_hints(type(config)) if changes else {}
    parsed = {}
    for name, value in changes.items():
        if name not in kinds:
            raise UnknownNameError("field", name, kinds)
        parsed[name] = _parse(kinds[name], name, value) if isinstance(value, str) else value
    for name, value in parsed.items():
        if value == getattr(config, name):  # not changed: whatever another package gives its fields
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(n, str) or n > 0 for n in numbers) or not numbers:
            raise UsageError(f"field '{name}' cannot be {value}", "give values above zero")
    return dataclasses.replace(config, **parsed)


@dataclass(frozen=True)
class Definition:
    """A workload before its size is chosen; entry points of other packages name one of these.

    Attributes:
        name: The workload's name.
        summary: What it is, in one line.
        presets: Preset name to configuration; ``paper``, ``small`` and ``tiny`` for the built-in ones.
        build: From (preset name, configuration) to the workload; raises ValueError for an impossible configuration.
        fidelity: Where it departs from the original Fathom code, and why.
        papers: The papers that introduced the model.
    """

    name: str
    summary: str
    presets: Mapping[str, Any]
    build: Callable[[str, Any], Workload]
    fidelity: str = ""
    papers: tuple[str, ...] = ()

    def configure(self, preset: str = "paper", changes: Mapping[str, Any] | None = None) -> Workload:
        """The workload at a preset, with some fields changed.

        Raises:
            UnknownNameError: No such preset or field.
            UsageError: A value makes an impossible configuration.
        """
        if preset not in self.presets:
            raise UnknownNameError("preset", preset, self.presets)
        if not dataclasses.is_dataclass(self.presets[preset]):
            raise UsageError(
                f"preset '{preset}' of workload '{self.name}' is no dataclass", "give its fields in a frozen dataclass"
            )
        config = override(self.presets[preset], changes or {})
        try:
            return self.build(preset, config)
        except ValueError as error:
            raise UsageError(f"workload '{self.name}' cannot have this configuration: {error}") from error
