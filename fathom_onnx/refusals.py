"""What onnx and onnxruntime say when they refuse a graph: in plain words, and with advice that fits.

onnxruntime's messages begin with codes, paths of its source and signatures of functions, and end with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from .errors import one_line

__all__ = ["Refusal", "explain"]


class Refusal(NamedTuple):
    """Why something was refused.

    Attributes:
        reason: The reason on one line, without codes and places in the source of the library.
        advice: What to do about it; empty where the reason is in no table.
    """

    reason: str
    advice: str

    def advice_or(self, other: str) -> str:
        """The advice, or another where there is none."""
        return self.advice or other


def _unregistered(match: re.Match[str]) -> str:
    """Advice on an operator that the graph's opset does not have."""
    import onnx.defs

    versions = [
        s.since_version for s in onnx.defs.get_all_schemas_with_history() if (s.name, s.domain) == (match[1], "")
    ]
    if versions:
        return f"ONNX has it from opset {min(versions)} on: export with a newer opset"
    return f"give the library that has it with --custom-ops FILE, or check its name: ONNX has no '{match[1]}'"


_CUSTOM = "if it is an operator of your own, give the library that has it with --custom-ops FILE"
_FIT = "the sizes do not fit each other: check --dim and --inputs, or export the graph again"

_ADVICE: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # versions
    (
        r"Unsupported model IR version: \d+, max supported IR version: (\d+)",
        r"save it again with IR version \1 or older (ir_version of the model), or install a newer onnxruntime",
    ),
    (
        r"ir_version \d+ is higher than the checker's \((\d+)\)",
        r"save it again with IR version \1 or older (ir_version of the model), or install newer onnx and onnxruntime",
    ),
    (
        r"Current official support for domain (\S+) is till opset (\d+)",
        r"export it with opset \2 of \1 or an older one, or install a newer onnxruntime",
    ),
    (r"Unrecognized attribute: (\S+) for operator", "export it with the opset whose operator has this attribute"),
    # operators
    (r"No Op registered for (\S+) with domain_version of", _unregistered),
    (r"is not a registered function/op", _CUSTOM),
    (r"No opset import for domain '?([^'\s]+)", r"add the version of '\1' to the model's opset_import"),
    (
        r"Could not find an implementation for (Random\w+|Multinomial)\(22\)",  # onnxruntime 1.31
        "onnxruntime draws no random numbers from opset 22 on: export it with opset 21 or older, or with "
        "random numbers as inputs (--noise input)",
    ),
    (
        r"Could not find an implementation for",
        "onnxruntime has no kernel for it with these types: export it with another type (float32), or "
        "give a library that has one with --custom-ops FILE",
    ),
    # libraries of operators
    (r"undefined symbol: RegisterCustomOps", "give a library of onnxruntime operators: it has RegisterCustomOps"),
    (r"Failed to load library", "check its path, and that the libraries that it needs are there"),
    (r"given version \[\d+\] is not supported", "build it for this version of onnxruntime"),
    # files
    (r"External data path does not exist", "put that file beside the graph"),
    (r"external initializer.*out of bounds|can not be read in full", "fetch or export the graph and its weights again"),
    (r"Protobuf parsing failed", "export or fetch the file again"),
    (r"File doesn't exist", "give the path of an .onnx file"),
    # memory
    (
        r"Failed to allocate memory|bad_alloc|out of memory|Unable to allocate",
        "make the sizes smaller (--dim, --batch), or use a machine with more memory",
    ),
    # values and sizes
    (
        r"Invalid rank for input|Got invalid dimensions for input|Unexpected input data type|Invalid input name|"
        r"missing from input feed",
        "feed values of the graph's own shape and type",
    ),
    (r"\[ShapeInferenceError\]", _FIT),
    (r"dimension mismatch|broadcast|cannot be reshaped|Input channels C is not equal|Incompatible dimensions", _FIT),
    (r"out of (data )?bounds|out of range", "a value points outside of a tensor: give real values with --inputs FILE"),
    # graphs that are wrong in themselves
    (r"\[TypeInferenceError\]|Type Error:", "the types do not fit each other: export the graph again"),
    (
        r"is not a graph input, initializer, or output of a previous node|is not output of any previous nodes",
        "no node makes it: export the graph again",
    ),
    (r"two nodes with same node name", "give every node a name of its own, or none"),
    (r"Duplicate definition|is not acyclic|SSA form", "export the graph again"),
)
"""Pattern in a message of onnx or onnxruntime, and what to do; the first that is found counts."""

_POSITION = re.compile(r"(?P<path>/\S*/)?[\w+-]+\.(?:cc|cpp|cu|cuh|h|hpp):\d+ ")
_CONDITION = re.compile(r"\S.{0,300}? was false\. (?=\S)")
_REWRITTEN: tuple[tuple[str, str], ...] = (
    (r" Stacktrace:.*", ""),
    (r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", ""),
    (r"^Error in execution: ", ""),
    (r"Load model from .*? failed:\s*", ""),
    (r"Fatal error: ", ""),
    (r" ==> Context: Bad node spec for node\. Name: (.*?) OpType: (\S+)", r" in \2 node '\1'"),
    (r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: ", r"\1 node '\2': "),
    (r"\bNode \((.*?)\) Op \((\S+?)\) \[\w+InferenceError\] ", r"\2 node '\1': "),
    (r"This is an invalid model\. (Error: )?", ""),
    (r'In Node, \("(.*?)", (\S+), ".*?", -?\d+\) : .* , Error ', r"\2 node '\1': "),
    (
        r"ONNX Runtime only \*guarantees\* support .*?Opset (\d+) is under development .*?"
        r"Current official support for domain (\S+) is till opset (\d+)\.?",
        r"opset \1 of domain \2, of which it knows \3 and older ones",
    ),
    (r" Please fix either the inputs/outputs or the model\.", ""),
    (r" ; hostname=.*", ""),
)
"""What is left out of a message, or said in fewer words; in this order, after places in the source are gone."""


def explain(error: BaseException, limit: int = 300) -> Refusal:
    """Why onnx or onnxruntime refused something.

    Args:
        error: What it raised.
        limit: Most characters of the reason.
    """
    text = " ".join(str(error).split())
    reason = _without_positions(text)
    for pattern, replacement in _REWRITTEN:
        reason = re.sub(pattern, replacement, reason)
    reason = reason.strip().rstrip(".")
    return Refusal(one_line(reason or type(error).__name__, limit), _advice(text))


def _advice(text: str) -> str:
    for pattern, advice in _ADVICE:
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            return match.expand(advice) if isinstance(advice, str) else advice(match)
    return ""


def _without_positions(text: str) -> str:
    """A text without places in C++ sources, each with its function and the condition that was tested there."""
    kept, end = [], 0
    while match := _POSITION.search(text, end):
        kept.append(text[end : match.start()])
        end = _after_function(text, match.end(), signature=match["path"] is not None)
        condition = _CONDITION.match(text, end)
        end = condition.end() if condition else end
    return "".join([*kept, text[end:]])


def _after_function(text: str, start: int, *, signature: bool) -> int:
    """Where a function that begins at ``start`` ends: a bare name, or a whole signature with its parameters."""
    name = re.compile(r"\w+ ").match(text, start)
    if not signature:
        return name.end() if name else start
    depth, parameters = 0, False
    for place in range(start, len(text)):
        depth += {"(": 1, "<": 1, ")": -1, ">": -1}.get(text[place], 0)
        if depth or text[place] not in ")>":
            continue
        parameters = parameters or text[place] == ")"
        # neither the type of the result nor a part of the name: the last parameters, or a lambda's
        if parameters and (tail := _TAIL.match(text, place + 1)):
            return tail.end()
    return name.end() if name else start


_TAIL = re.compile(r"( const)?( noexcept)?( \[with .*?\])? ")
"""What may stand between the parameters of a function and the message; not the further parts of its name."""
