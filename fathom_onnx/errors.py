"""Every error the package raises on purpose, each with an exit code and the fix.

    FathomError                     1   something failed that a user can act on
    +-- UnknownNameError            2   no such workload, preset, field, framework, ...
    +-- UsageError                  2   a value or a combination of options that cannot work
    +-- GraphError                  3   a file is not a graph that can be read or run
    +-- MissingDependencyError      4   a framework, provider or optional package is absent
    +-- OutputError                 5   a result cannot be written
    +-- DataError                   6   a data set is missing or malformed
    +-- ExportError                 7   a model could not be turned into a standard graph
    +-- RunError                    8   onnxruntime could not build or run a session, or a trace is broken
        +-- StepError           8   onnxruntime failed with the values that a step was fed

Exit code 1 is also what ``verify`` gives when a comparison fails.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = [
    "DataError",
    "ExportError",
    "FathomError",
    "GraphError",
    "MissingDependencyError",
    "OutputError",
    "RunError",
    "StepError",
    "UnknownNameError",
    "UsageError",
    "one_line",
    "visible",
]

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
"""Control characters, invisible ones, those that turn the direction of text, and halves of characters."""


class FathomError(Exception):
    """Base of the tree: what went wrong, and what to do about it, in one line."""

    exit_code = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.message}; {self.fix}" if self.fix else self.message
        return visible(re.sub(r"\s*[\r\n]\s*", " ", text))  # libraries tell things on several lines


class UsageError(FathomError):
    """A value, or a combination of options, that cannot work."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in a known set; the message carries the nearest match.

    Args:
        kind: What was looked up, for example ``"workload"``.
        name: The name that is not known.
        known: All names that are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        listed = ", ".join(self.known) or "none"
        hint = f"did you mean '{near[0]}'? known: {listed}" if near else f"known: {listed}"
        super().__init__(f"unknown {kind} '{name}'", hint)


class GraphError(FathomError):
    """A file that is not a readable ONNX graph, or a graph that cannot be run as it is."""

    exit_code = 3


class MissingDependencyError(FathomError):
    """A framework, an execution provider or an optional package that is not there."""

    exit_code = 4


class OutputError(FathomError):
    """A result that cannot be written where it should go."""

    exit_code = 5


class DataError(FathomError):
    """A data set that is missing or malformed."""

    exit_code = 6


class ExportError(FathomError):
    """A model that could not be turned into a standard ONNX graph."""

    exit_code = 7


class RunError(FathomError):
    """A session that could not be built or run, or a trace that cannot be trusted."""

    exit_code = 8


class StepError(RunError):
    """A step that failed with the values that it was fed."""


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """A text, or that of an error, on one line of at most ``limit`` characters; a longer one loses its middle.

    What went wrong is at the start of some texts and at the end of others.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= limit:
        return text
    start = (limit - 3) // 3
    return f"{text[:start]}...{text[len(text) - (limit - 3 - start) :]}"


def visible(text: str) -> str:
    """A text with escapes in place of what is not seen, ends a line or acts on a terminal; names come from anywhere."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)
