"""The interface of a converter: its description, the request it takes and the conversion it returns.

A converter is a row of :data:`fathom_onnx.convert.CONVERTERS` and a module with a function ``convert(graph, request)``.
It writes no files: it returns their contents, and an account of what of the graph is in them and what is left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from fathom_onnx.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from fathom_onnx.graph import Graph

__all__ = [
    "ONNX_SUFFIX",
    "Content",
    "Conversion",
    "ConversionRequest",
    "Converter",
    "CostSums",
    "LeftOut",
    "Option",
    "Value",
]

Value = str | int | None
"""The value of an option; None where it is not given and has no default."""

Content = bytes | Callable[[IO[bytes]], None]
"""The content of a file, or a function that writes it (for content too large for memory)."""


@dataclass(frozen=True)
class CostSums:
    """Sums over nodes: their number, multiply-accumulates, bytes read and written.

    A sum is None where the number is unknown for one of the nodes.
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
        files: Suffix to content. The name of a file is the request's stem followed by its suffix; the converter's own
            suffix is that of the main file.
        kept: Sums over the nodes that are in the files.
        total: Sums over the whole graph.
        left_out: The nodes that are not in the files, by op type and reason, largest first.
        notes: What a user of the files has to know, in sentences.
    """

    files: Mapping[str, Content]
    kept: CostSums
    total: CostSums
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """An option of a converter; the command line has an option of the same name.

    The type of its value (text or integer) is that of ``example``; an integer is at least ``least``.
    """

    name: str
    meaning: str
    example: str | int
    default: Value = None
    choices: tuple[str, ...] = ()
    required: bool = False
    least: int | None = None


@dataclass(frozen=True)
class ConversionRequest:
    """What a converter is given besides the graph.

    Attributes:
        stem: Beginning of the files' names, for files that refer to each other.
        options: Option name to value, with defaults filled in.
    """

    stem: str
    options: Mapping[str, Value] = field(default_factory=dict)


ONNX_SUFFIX = ".onnx"
"""Suffix of the formats that are ONNX files."""


@dataclass(frozen=True)
class Converter:
    """A format that graphs can be converted to.

    Attributes:
        name: The format's name.
        description: What the files contain, in one line.
        consumer: The tools that read it.
        suffix: Suffix of the main file.
        module: Module of this package with ``convert(graph, request)``; imported on first use.
        options: The options that it takes.
    """

    name: str
    description: str
    consumer: str
    suffix: str
    module: str
    options: tuple[Option, ...] = ()

    def request(self, stem: str, given: Mapping[str, Value]) -> ConversionRequest:
        """A request with defaults filled in; options that are None in ``given`` count as not given.

        Raises:
            UsageError: An option is not one of this format, is too small, or is required and has no value.
            UnknownNameError: A value is not among the choices of its option.
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
            least = known[name].least
            if least is not None and isinstance(value, int) and value < least:
                raise UsageError(f"option '{name}' cannot be {value}", f"give a whole number from {least}")
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
        if self.suffix == ONNX_SUFFIX:  # it may lie in another folder than the graph's files of weights
            graph = graph.with_weights()
        conversion: Conversion = importlib.import_module(f"{__package__}.{self.module}").convert(graph, request)
        return conversion
