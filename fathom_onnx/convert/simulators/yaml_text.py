"""YAML text in the style of simulators' files: keys in the given order, short lists on one line."""

from __future__ import annotations

from typing import Any

from fathom_onnx.errors import MissingDependencyError

__all__ = ["yaml_bytes"]


def yaml_bytes(value: Any, comment: str = "") -> bytes:
    """A YAML document of plain values; ``comment`` is its first line.

    Raises:
        MissingDependencyError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError("PyYAML is not installed", "pip install pyyaml") from error

    # the C emitter where there is one: large graphs are megabytes of text
    class Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True  # equal values are repeated: not every reader knows anchors

    text: str = yaml.dump(value, Dumper=Plain, sort_keys=False, default_flow_style=None, width=120)
    return ((f"# {comment}\n" if comment else "") + text).encode()
