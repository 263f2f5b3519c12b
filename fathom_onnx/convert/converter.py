"""What a converter is, what it is asked for and what it gives.

A converter is a row of :data:`fathom_onnx.convert.CONVERTERS` and a module with a function ``convert(graph, request)``.
It writes nothing: it gives the files' contents, and says what of the graph is in them and what was left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from fathom_onnx.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from fathom_onnx.graph import Graph

__all__ = ["Content", "Conversion", "ConversionRequest", "Converter", "CostSums", "LeftOut", "Option", "Value"]

Value = str | int | None
"""The value of an option; None where it was not given and has no default."""

Content = bytes | Callable[[IO[bytes]], None]
"""A file's content, or what writes it (for one too large to hold in memory)."""


@dataclass(frozen=True)
class CostSums:
    """How much of a graph: nodes, multiply-accumulates, bytes read and written by nodes.

    A number is None where it is unknown for one of the nodes or more.
    """

    nodes: int
    macs: int | None
    bytes_moved: int | None


@dataclass(frozen=True)
class LeftOut:
    """Nodes of one op type that are not in the result, and why."""

    op: str
    nodes: int
    macs: int | None
    bytes_moved: int | None
    reason: str


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        files: Suffix to content. Every file is named by the request's stem and its suffix; the converter's own suffix
            is the main file's.
        kept: What of the graph is in the files.
        total: The whole graph.
        left_out: What is not, by op type and reason, largest first.
        notes: What a reader of the files has to know, a sentence each.
    """

    files: Mapping[str, Content]
    kept: CostSums
    total: CostSums
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """An option of a converter: a command-line option of the same name.

    The kind of the value (text or whole number) is that of ``example``.
    """

    name: str
    meaning: str
    example: str | int
    default: Value = None
    choices: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class ConversionRequest:
    """What a converter is asked for.

    Attributes:
        stem: What the files' names begin with, for contents that name each other.
        options: Option name to value, defaults filled in.
    """

    stem: str
    options: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Converter:
    """A format that graphs can be converted to.

    Attributes:
        name: The format's name.
        description: What is written, in a line.
        consumer: Who reads it.
        suffix: Suffix of the main file.
        module: Module of this package that has ``convert(graph, request)``; imported when it is used.
        options: The options it takes.
    """

    name: str
    description: str
    consumer: str
    suffix: str
    module: str
    options: tuple[Option, ...] = ()

    def request(self, stem: str, given: Mapping[str, Value]) -> ConversionRequest:
        """A request with defaults filled in; what is None in ``given`` was not given.

        Raises:
            UsageError: An option that this format does not take, a value that is not among its choices, or none for
                an option that it needs.
        """
        known = {option.name: option for option in self.options}
        values = {option.name: option.default for option in self.options}
        for name, value in given.items():
            if value is None:
                continue
            if name not in known:
                takes = ", ".join(known) or "no options"
                raise UsageError(f"format '{self.name}' has no option '{name}'", f"it takes {takes}")
            if known[name].choices and value not in known[name].choices:
                raise UnknownNameError(name, str(value), known[name].choices)
            values[name] = value
        for option in self.options:
            if option.required and values[option.name] is None:
                raise UsageError(
                    f"format '{self.name}' needs the option '{option.name}' ({option.meaning})",
                    f"give one, for example --{option.name} {option.example}",
                )
        return ConversionRequest(stem, values)

    def convert(self, graph: Graph, request: ConversionRequest) -> Conversion:
        """Convert one graph.

        Raises:
            GraphError: The graph cannot be converted to this format.
        """
        made: Conversion = importlib.import_module(f"{__package__}.{self.module}").convert(graph, request)
        return made
