"""Parallel sentences of two artificial languages, and the classes of a sampled softmax.

Word ids are ordered by frequency, the k-th of N words having a probability proportional to 1/k (Zipf 1949); the first
four ids are symbols (see :mod:`~fathom_onnx.workloads.suite2016.seq2seq`). A sentence fills at least half of the source
length, so padding occurs. It is translated word by word, by a fixed one-to-one dictionary that keeps frequent words
frequent, and then reordered: a word with an even id moves behind the word after it. The languages are the same for
every seed; the seed determines the sentences only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array
from fathom_onnx.workloads.suite2016.seq2seq import EOS, PAD, UNKNOWN

__all__ = ["FIRST_WORD", "dictionary", "log_uniform", "open_translations", "reordered"]

FIRST_WORD = UNKNOWN + 1
"""Id of the most frequent word."""

_INPUTS = ("source_ids", "target_ids", "target_weights", "sampled_ids")


@functools.lru_cache(maxsize=4)
def dictionary(vocabulary: int) -> Array:
    """Word id to the id of its translation, int64 [vocabulary]; symbols map to themselves; read-only.

    A word's frequency rank changes by a factor of about 2 at most.
    """
    ranks = np.arange(1, vocabulary - FIRST_WORD + 1)
    rng = generator(0, "translations:dictionary")
    permutation = np.argsort(np.log(ranks) + rng.uniform(0.0, math.log(2.0), ranks.size), kind="stable")
    translations = np.arange(vocabulary)
    translations[FIRST_WORD:] = FIRST_WORD + permutation
    translations.setflags(write=False)
    return translations


def reordered(words: list[int]) -> list[int]:
    """The words in the order of the other language: a word with an even id moves behind the word after it."""
    result: list[int] = []
    index = 0
    while index < len(words):
        if words[index] % 2 == 0 and index + 1 < len(words):
            result += [words[index + 1], words[index]]
            index += 2
        else:
            result.append(words[index])
            index += 1
    return result


def log_uniform(count: int, vocabulary: int, rng: np.random.Generator) -> Array:
    """Classes drawn with replacement, int64 [count]: ``P(k) = log((k + 2) / (k + 1)) / log(vocabulary + 1)``."""
    drawn = np.exp(rng.uniform(0.0, math.log(vocabulary + 1), count)).astype(np.int64) - 1
    return np.minimum(drawn, vocabulary - 1)  # the largest exponential may round up to the next class


def _vocabulary(request: BatchRequest, name: str) -> int:
    """Vocabulary size of an input of word ids, from its draw.

    Raises:
        DataError: The request does not give one, or it has no word.
    """
    draw = request.draws.get(name)
    if draw is None or draw.kind != "integers" or draw.high <= FIRST_WORD:
        raise DataError(
            f"data source 'translations' does not know how many words '{name}' has",
            f"give the input a draw of integers up to more than {FIRST_WORD}",
        )
    return int(draw.high)


def _lengths(request: BatchRequest) -> tuple[int, int, int]:
    """Batch size, source length and target length of a request; 0 for what is not requested.

    Raises:
        DataError: Its shapes are inconsistent.
    """
    shapes = {spec.name: spec.shape for spec in request.specs if spec.name != "sampled_ids"}
    if not shapes:
        return 0, 0, 0
    if any(len(shape) != 2 for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) != 1:
        raise DataError(
            f"data source 'translations' cannot fill {', '.join(f'{n} {list(s)}' for n, s in shapes.items())}",
            "ask for [batch, words], with as many rows of each",
        )
    targets = {shapes[name][1] for name in ("target_ids", "target_weights") if name in shapes}
    if len(targets) > 1:
        raise DataError(
            "data source 'translations' was asked for targets and weights of different lengths",
            "ask for [batch, words] of the one and the other",
        )
    batch = next(iter(shapes.values()))[0]
    target = targets.pop() if targets else 0
    source = shapes["source_ids"][1] if "source_ids" in shapes else max(target - 1, 1)
    if target == 1:
        raise DataError(
            "data source 'translations' cannot fit a word and the end symbol into a target length of 1",
            "ask for a target length of 2 or more",
        )
    return batch, source, target


def open_translations(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``source_ids``, ``target_ids``, ``target_weights`` and ``sampled_ids``.

    Raises:
        DataError: Another input is requested, shapes are inconsistent, or ids have no vocabulary.
    """
    check_inputs(request, "translations", _INPUTS)
    if not request.specs:
        raise DataError("data source 'translations' was asked for no input", "ask for 'source_ids'")
    batch, source_length, target_length = _lengths(request)
    names = {spec.name for spec in request.specs}
    sizes = {name: _vocabulary(request, name) for name in _INPUTS if name in names and name != "target_weights"}
    vocabulary = sizes.get("source_ids") or sizes.get("target_ids") or FIRST_WORD + 1
    if sizes.get("target_ids", vocabulary) != vocabulary:
        raise DataError("data source 'translations' has as many words in both languages", "ask for one vocabulary")
    frequencies = 1.0 / np.arange(1, vocabulary - FIRST_WORD + 1)
    cumulative = np.cumsum(frequencies / frequencies.sum())
    longest = min(source_length, target_length - 1) if target_length else source_length
    words, classes = generator(request.seed, "translations"), generator(request.seed, "translations:sampled")
    while True:
        values: Batch = {
            "source_ids": np.full((batch, source_length), PAD),
            "target_ids": np.full((batch, target_length), PAD),
            "target_weights": np.zeros((batch, target_length)),
        }
        for row in range(batch):
            length = int(words.integers((longest + 1) // 2, longest + 1))
            ranks = np.minimum(np.searchsorted(cumulative, words.random(length)), vocabulary - FIRST_WORD - 1)
            sentence = FIRST_WORD + ranks
            values["source_ids"][row, :length] = sentence
            if target_length:
                values["target_ids"][row, :length] = dictionary(vocabulary)[reordered(sentence.tolist())]
                values["target_ids"][row, length] = EOS
                values["target_weights"][row, : length + 1] = 1.0
        for spec in request.specs:
            if spec.name == "sampled_ids":
                values[spec.name] = log_uniform(math.prod(spec.shape), sizes[spec.name], classes).reshape(spec.shape)
        yield {spec.name: values[spec.name].astype(spec.dtype) for spec in request.specs}
