"""Parallel corpora: two files of text, of which a line of the one is the translation of that line of the other.

Words are what white space divides, as they stand: text is expected in the tokenisation that is wanted. Each language
has a vocabulary of its most frequent words in the training part, by frequency; words as frequent as each other come in
the order of their characters. The symbols of :mod:`~fathom_onnx.workloads.suite2016.seq2seq` come before them, and
unknown words get its id for them. One pair in ten is held out, by a hash of the source sentence, so that sentences that
occur again are in the same part.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, endless_shuffle, generator
from fathom_onnx.data.text.translations import FIRST_WORD, log_uniform
from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.workloads.contract import Array
from fathom_onnx.workloads.suite2016.seq2seq import EOS, PAD, UNKNOWN

from .division import HELD_OUT_ONE_IN, in_part
from .files import path_pair
from .lines import lines_of

__all__ = ["by_frequency", "open_parallel", "pairs_of"]

_EXPECTED = "a file of sentences, one a line, in UTF-8"
_INPUTS = ("source_ids", "target_ids", "target_weights", "sampled_ids")

Pair = tuple[list[str], list[str]]
"""The words of a sentence and of its translation."""


def pairs_of(source: Path, target: Path) -> Iterator[Pair]:
    """The pairs of two files, empty sentences too.

    Raises:
        DataError: A file cannot be read, or they have not as many lines.
    """
    counts = [0, 0]
    for lines in itertools.zip_longest(lines_of(source, _EXPECTED), lines_of(target, _EXPECTED)):
        counts = [count if line is None else line[0] for count, line in zip(counts, lines, strict=True)]
        first, second = lines
        if first is not None and second is not None:
            yield first[1].split(), second[1].split()
    if counts[0] != counts[1]:
        raise DataError(
            f"'{source}' has {counts[0]} lines and '{target}' {counts[1]}",
            "expected as many: a line of the one is the translation of that line of the other",
        )


def by_frequency(counts: Counter[str], vocabulary: int) -> dict[str, int]:
    """Word to id, for the most frequent words that a vocabulary of this size has room for."""
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: FIRST_WORD + rank for rank, word in enumerate(ranked[: vocabulary - FIRST_WORD])}


@dataclass(frozen=True)
class _Shape:
    """What a request asks for; a length that is not asked for is None."""

    batch: int
    source: int | None
    target: int | None
    sizes: dict[str, int]


def _shape(request: BatchRequest, source: str) -> _Shape:
    """The sizes of a request.

    Raises:
        DataError: Its shapes are inconsistent, or ids have no vocabulary.
    """
    check_inputs(request, source, _INPUTS)
    shapes = {spec.name: spec.shape for spec in request.specs if spec.name != "sampled_ids"}
    lengths = {shape[1:] for name, shape in shapes.items() if name != "source_ids"}
    if (
        not shapes
        or any(len(shape) != 2 or not all(shape) for shape in shapes.values())
        or len({shape[0] for shape in shapes.values()}) != 1
        or len(lengths) > 1
    ):
        asked = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "no sentences"
        raise DataError(f"data source '{source}' cannot fill {asked}", "ask for [batch, words], of one length a side")
    sizes = {}
    for name in (name for name in _INPUTS if name != "target_weights" and request.spec(name) is not None):
        draw = request.draws.get(name)
        if draw is None or draw.kind != "integers" or draw.high <= FIRST_WORD:
            raise DataError(
                f"data source '{source}' does not know how many words '{name}' has",
                f"give the input a draw of integers up to more than {FIRST_WORD}",
            )
        sizes[name] = int(draw.high)
    first = next(iter(shapes.values()))
    source_length = shapes["source_ids"][1] if "source_ids" in shapes else None
    return _Shape(first[0], source_length, next(iter(lengths))[0] if lengths else None, sizes)


@dataclass
class _Sentences:
    """Word ids of many sentences, one after another."""

    ids: array[int] = field(default_factory=lambda: array("i"))
    ends: array[int] = field(default_factory=lambda: array("q", [0]))

    def add(self, words: list[str], known: dict[str, int]) -> None:
        self.ids.extend(known.get(word, UNKNOWN) for word in words)
        self.ends.append(len(self.ids))

    def row(self, index: int) -> array[int]:
        return self.ids[self.ends[index] : self.ends[index + 1]]


@dataclass(frozen=True)
class _Corpus:
    """The pairs of a part that fit."""

    source: _Sentences
    target: _Sentences


def _read(request: BatchRequest, files: tuple[Path, Path], shape: _Shape) -> _Corpus:
    """The pairs of the part requested that fit; what is left out is remarked.

    Raises:
        DataError: A file is not what it should be, or no pair fits.
    """
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for pair in pairs_of(*files):
        if in_part(_key(pair), "training"):
            counts[0].update(pair[0])
            counts[1].update(pair[1])
    known = [by_frequency(c, shape.sizes.get(n, 0)) for c, n in zip(counts, ("source_ids", "target_ids"), strict=True)]
    corpus = _Corpus(_Sentences(), _Sentences())
    empty = longer = 0
    for source, target in pairs_of(*files):
        if not in_part(_key((source, target)), request.split):
            continue
        if not source or not target:
            empty += 1
        elif len(source) > (shape.source or math.inf) or len(target) > (shape.target or math.inf) - 1:
            longer += 1
        else:
            corpus.source.add(source, known[0])
            corpus.target.add(target, known[1])
    _tell(request, files, shape, len(corpus.source.ends) - 1, empty, longer)
    return corpus


def _key(pair: Pair) -> bytes:
    return " ".join(pair[0]).encode()


def _tell(request: BatchRequest, files: tuple[Path, Path], shape: _Shape, kept: int, empty: int, longer: int) -> None:
    """Say how many pairs were left out.

    Raises:
        DataError: All of them were.
    """
    bounds = " or ".join(
        f"{words} {side} words"
        for words, side in ((shape.source, "source"), (shape.target and shape.target - 1, "target"))
        if words is not None
    )
    total = kept + empty + longer
    left = f"{empty} with an empty side, {longer} longer than {bounds}"
    where = f"'{files[0]}' and '{files[1]}' ({request.split})"
    if not kept:
        raise DataError(
            f"no pair of {where} is left of {total}: {left}",
            f"give more data, or a graph of longer sentences; one pair in {HELD_OUT_ONE_IN} is held out",
        )
    if empty or longer:
        request.remark(f"{empty + longer} of {total} pairs of {where} are left out: {left}")


def open_parallel(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``source_ids``, ``target_ids``, ``target_weights`` and ``sampled_ids``.

    Every pair comes once, in a random order, before any is repeated. Sampled classes are drawn.

    Args:
        request: The request.
        path: ``SOURCE,TARGET``, two files.

    Raises:
        UsageError: The path is not of two files.
        DataError: A file is not what it should be, they have not as many lines, or the request cannot be filled.
    """
    source = f"parallel:{path}"
    shape = _shape(request, source)
    files = path_pair(path)
    if files is None:
        raise UsageError(f"data source '{source}' does not name two files", "give both, as parallel:SOURCE,TARGET")
    return _batches(request, shape, _read(request, files, shape))


def _batches(request: BatchRequest, shape: _Shape, corpus: _Corpus) -> Iterator[Batch]:
    indices = endless_shuffle(len(corpus.source.ends) - 1, generator(request.seed, "parallel"))
    classes = generator(request.seed, "parallel:sampled")
    while True:
        values: dict[str, Array] = {
            "source_ids": np.full((shape.batch, shape.source or 0), PAD),
            "target_ids": np.full((shape.batch, shape.target or 0), PAD),
            "target_weights": np.zeros((shape.batch, shape.target or 0)),
        }
        for row, index in enumerate(itertools.islice(indices, shape.batch)):
            if shape.source is not None:
                words = corpus.source.row(index)
                values["source_ids"][row, : len(words)] = words
            if shape.target is not None:
                words = corpus.target.row(index)
                values["target_ids"][row, : len(words) + 1] = [*words, EOS]
                values["target_weights"][row, : len(words) + 1] = 1.0
        sampled = request.spec("sampled_ids")
        if sampled is not None:
            drawn = log_uniform(math.prod(sampled.shape), shape.sizes["sampled_ids"], classes)
            values["sampled_ids"] = drawn.reshape(sampled.shape)
        yield {spec.name: values[spec.name].astype(spec.dtype) for spec in request.specs}
