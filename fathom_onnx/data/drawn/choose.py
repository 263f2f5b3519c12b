"""From what was found of an input to the way it is drawn, and the words that say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.given.declared import DeclaredInput, is_floating, is_integer, is_text
from fathom_onnx.workloads.contract import Array

from .findings import Finding, Kind

__all__ = ["Drawing", "choose"]

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""What strings are drawn from where the graph knows no words."""

A_SENTENCE = 8
"""Words of a string that the graph cuts into words."""

SHOWN = 8
"""Values that are listed, at most."""

_Sample = Callable[[tuple[int, ...], np.random.Generator], Array]


@dataclass(frozen=True)
class Drawing:
    """How an input is drawn.

    Attributes:
        sample: From a shape and random numbers to values, in a type of NumPy's own that is cast to the input's.
        said: The same in words.
        by_use: Whether anything in the graph, or the input's name, says what it is.
    """

    sample: _Sample
    said: str
    by_use: bool = True


def choose(declared: DeclaredInput, findings: Sequence[Finding]) -> Drawing:
    """How to draw an input.

    Args:
        declared: The input.
        findings: What its uses say, the most direct first.
    """
    if is_text(declared.dtype):
        return _text(findings)
    if is_floating(declared.dtype):
        findings = [found for found in findings if found.kind in _OF_FLOATS]
    for kind, make in _BY_USE:
        several = [found for found in findings if found.kind == kind]
        drawing = make(declared, several, findings) if several else None
        if drawing is not None:
            return drawing
    return _by_name(declared, findings) or _by_type(declared, findings)


def _bounds(findings: Sequence[Finding], first: Finding | None = None) -> tuple[int, int | None]:
    """The range that all findings allow; one that contradicts those before it is left out."""
    low, high = (first.low, first.high) if first else (-(2**62), None)
    for found in findings:
        if found.kind not in ("index", "length", "limit", "offset", "count") or found.high is None:
            continue
        least, most = max(low, found.low), found.high if high is None else min(high, found.high)
        if least <= most:
            low, high = least, most
    return low, high


def _exact(declared: DeclaredInput, found: list[Finding], _: Sequence[Finding]) -> Drawing:
    known: dict[int, float] = {}
    for finding in reversed(found):  # what is most direct comes last, and stays
        known.update(dict(finding.elements))
    whole = not is_floating(declared.dtype)

    def sample(shape: tuple[int, ...], _: np.random.Generator) -> Array:
        values = [known.get(n, 1) for n in range(int(np.prod(shape)))]
        return np.array(values, np.int64 if whole else np.float64).reshape(shape)

    size = None if declared.sizes is None else int(np.prod(declared.sizes))
    values = [known.get(n, 1) for n in range(max(known, default=0) + 1 if size is None else size)]
    texts = [f"{value:g}" if abs(value) < 1e6 else str(int(value)) for value in values[:SHOWN]]
    listed = ", ".join(texts) + (", ..." if len(values) > SHOWN else "")
    return Drawing(sample, f"{listed if len(values) == 1 else f'[{listed}]'} ({_reasons(found)})")


def _offsets(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing | None:
    _, high = _bounds(findings, found[0])
    if declared.shape is None or len(declared.shape) != 1 or high is None:
        return None

    def sample(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        (count,) = shape
        if not count:
            return np.zeros(0, np.int64)
        # no part is empty where there are enough elements for all
        inner = range(1, high) if high >= count else range(high + 1)
        later = np.sort(rng.choice(inner, count - 1, replace=high < count))
        return np.array([0, *later], np.int64)

    return Drawing(sample, f"in order from 0, within 0..{high} ({_reasons(found)})")


def _numbers(low: int, high: int) -> _Sample:
    return lambda shape, rng: rng.integers(low, high, shape, endpoint=True)


def _places(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    return np.broadcast_to(np.arange(shape[-1]), shape)


def _indices(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing | None:
    bounded = [finding for finding in found if finding.high is not None]
    if not bounded:
        return Drawing(_numbers(0, 1), f"within 0..1 ({_reasons(found)}, of unknown size)")
    first = bounded[0]
    low, high = _bounds(findings, first)
    assert high is not None  # the first one has one
    low = max(low, 0) if high >= 0 else low
    if first.columns and declared.shape and declared.shape[-1] == len(first.columns) and len(set(first.columns)) > 1:
        ends = np.array(first.columns)
        said = ", ".join(f"0..{end}" for end in first.columns)
        return Drawing(lambda s, rng: rng.integers(0, ends, s, endpoint=True), f"within {said} ({_reasons(bounded)})")
    name, count = declared.name.lower(), declared.shape[-1] if declared.shape else None
    if "position" in name and count and low <= 0 and count - 1 <= high:
        return Drawing(_places, f"0..{count - 1} in order ({_reasons(bounded)}; by its name, positions)")
    if ("token_type" in name or "segment" in name) and low <= 0 <= high:
        return Drawing(_constant(0), f"0 ({_reasons(bounded)} for 0..{high}; by its name, types of one text)")
    return Drawing(_numbers(low, high), f"within {low}..{high} ({_reasons(bounded)})")


def _lengths(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing:
    low, high = _bounds(findings, found[0])
    if low == high:
        return Drawing(_constant(low), f"{low} ({_reasons(found)})")
    assert high is not None  # a length has a greatest one
    return Drawing(_numbers(low, high), f"within {low}..{high} ({_reasons(found)})")


def _counts(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing:
    low, high = _bounds(findings, found[0])
    value = max(found[0].low, 1) if found[0].preferred is None else found[0].preferred
    value = max(low, value) if high is None else min(max(low, value), high)
    return Drawing(_constant(value), f"{value} ({_reasons(found)})")


def _values(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing:
    low, high = _bounds(findings)
    values = list(dict.fromkeys(value for finding in found for value in finding.values))
    values = [v for v in values if low <= v and (high is None or v <= high)] or values
    listed = ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
    why = _reasons(found, "compared in")
    size = None if declared.sizes is None else int(np.prod(declared.sizes))
    if size == 1 or len(values) == 1:
        # the same in every batch: it may decide which branch runs
        return Drawing(_constant(values[0]), f"{values[0]} ({why}, known values: {listed}; --inputs gives others)")
    return Drawing(
        lambda shape, rng: rng.choice(np.array(values), shape), f"among {listed} ({why}; --inputs gives others)"
    )


def _constant(value: int) -> _Sample:
    return lambda shape, rng: np.full(shape, value)


def _ones(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing | None:
    if declared.dtype in ("uint8", "int8") and not any(f.kind == "limit" for f in findings):
        return None  # bytes of an image or a sound, more often than not
    return Drawing(_constant(1), f"ones ({_reasons(found[:1])})")


def _flags(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing:
    value = int(bool(found[0].preferred))
    said = str(bool(value)) if declared.dtype == "bool" else str(value)
    return Drawing(_constant(value), f"{said} ({_reasons(found)}; --inputs gives the other)")


def _ranges(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing:
    low, high = _bounds(findings, found[0])
    high = found[0].low if high is None else high
    return Drawing(_numbers(low, high), f"within {low}..{high} ({_reasons(found)})")


def _limits(declared: DeclaredInput, found: list[Finding], findings: Sequence[Finding]) -> Drawing | None:
    low, high = _bounds(findings)
    if is_floating(declared.dtype):
        return None
    return Drawing(_constant(max(low, min(1, high or 1))), f"{max(low, min(1, high or 1))} ({_reasons(found[:1])})")


def _by_name(declared: DeclaredInput, findings: Sequence[Finding]) -> Drawing | None:
    """The last resort: what an input is called."""
    name = declared.name.lower()
    if is_floating(declared.dtype):
        return None
    if "mask" in name:
        return Drawing(_constant(1), "ones (by its name, a mask)")
    if "position" in name and declared.shape and declared.dtype != "bool":
        return Drawing(_places, "0, 1, ... in order (by its name, positions)")
    return None


def _by_type(declared: DeclaredInput, findings: Sequence[Finding]) -> Drawing:
    """Nothing says what an input is but its type."""
    if is_floating(declared.dtype):
        return Drawing(lambda shape, rng: rng.normal(size=shape), "from a normal distribution", False)
    if declared.dtype == "bool":
        return Drawing(_constant(1), "True (nothing in the graph says what it is)", False)
    if declared.dtype in ("uint8", "int8"):
        low, high = (0, 255) if declared.dtype == "uint8" else (-128, 127)
        return Drawing(_numbers(low, high), f"within {low}..{high}", False)
    if is_integer(declared.dtype):
        return Drawing(_numbers(0, 1), "within 0..1 (nothing in the graph says what it is)", False)
    return Drawing(_constant(0), "0", False)


def _text(findings: Sequence[Finding]) -> Drawing:
    known = [found for found in findings if found.kind == "words"]
    cut = next((found for found in findings if found.kind == "separator"), None)
    words = list(dict.fromkeys(word for found in known for word in found.values if word)) or list(WORDS)
    said = f"words that the graph knows ({_reasons(known)})" if known else "some words (the graph has none of its own)"
    if cut is None:
        return Drawing(lambda shape, rng: rng.choice(np.array(words), shape).astype(object), said, bool(known))
    between = cut.values[0]

    def sample(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        made = np.empty(shape, object)
        for place in np.ndindex(shape):
            made[place] = between.join(rng.choice(np.array(words), A_SENTENCE))
        return made

    return Drawing(sample, f"{A_SENTENCE} {said}", bool(known))


def _reasons(found: Sequence[Finding], before: str = "") -> str:
    """The uses in words, each once, and how many are left out."""
    texts = list(dict.fromkeys(finding.why for finding in found))
    more = f" and {len(texts) - 2} more" if len(texts) > 2 else ""
    text = ", ".join(texts[:2]) + more
    return f"{before} {text}" if before else text


_Make = Callable[[DeclaredInput, list[Finding], Sequence[Finding]], Drawing | None]

_BY_USE: tuple[tuple[Kind, _Make], ...] = (
    ("offset", _offsets),
    ("exact", _exact),
    ("count", _counts),
    ("index", _indices),
    ("length", _lengths),
    ("flag", _flags),
    ("values", _values),
    ("mask", _ones),
    ("range", _ranges),
    ("limit", _limits),
)
"""The kinds of use, what says most first."""

_OF_FLOATS = frozenset({"exact", "index", "length", "count", "offset", "limit"})
"""The kinds that say something of floating-point inputs too: numbers that the graph casts to indices and sizes."""
