"""Task files of bAbI, v1.2 (Weston et al. 2015, arXiv:1502.05698), for memnet.

Each line begins with its number, and the number 1 begins another story. A line with tabs is a question, its answer and
the numbers of the lines that support it; any other is a sentence of the story. Words are in lower case without full
stops and question marks; an answer of several things (``milk,football``) is one word, as in the authors' code.

The vocabulary is made of the words of both parts, sorted; id 0 is nil. A question is asked of the sentences before it
in its story, the nearest first; where they are more than the memory holds, those far back are left out (Sukhbaatar et
al. 2015, section 4.2).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, endless_shuffle, generator
from fathom_onnx.errors import DataError

from .files import folder_entries, require_file, what_is
from .lines import Lines, lines_of

__all__ = ["Question", "open_babi", "questions_of"]

_TRAINING, _HELD_OUT = "_train.txt", "_test.txt"
_EXPECTED = "a task file of bAbI (qa..._train.txt, beside it qa..._test.txt), or a folder of them"
_NUMBERED = re.compile(r"(\d+) +(.*)")

Words = tuple[str, ...]
"""A sentence."""


@dataclass(frozen=True)
class Question:
    """A question with the sentences before it.

    Attributes:
        line: Its line in the file, from 1.
        story: The sentences, in their order.
        words: The question.
        answer: The answer, one word.
        longest: Line of the longest of the sentences and the question.
    """

    line: int
    story: tuple[Words, ...]
    words: Words
    answer: str
    longest: int


def _words(text: str) -> Words:
    return tuple(text.lower().replace(".", " ").replace("?", " ").split())


def _check_support(support: str, number: int, where: str) -> None:
    """Check that supporting facts are lines of the story before the question.

    Raises:
        DataError: They are not.
    """
    wrong = next((s for s in support.split() if not s.isascii() or not s.isdigit() or not 0 < int(s) < number), None)
    if wrong is not None or not support.split():
        told = f"'{wrong}'" if wrong is not None else "nothing"
        raise DataError(
            f"{where}: {told} is not the number of a line before the question", "expected supporting facts after a tab"
        )


def questions_of(lines: Lines, path: Path) -> Iterator[Question]:
    """The questions of a task file.

    Args:
        lines: Its lines.
        path: Its path, for errors.

    Raises:
        DataError: A line is not as it should be; it is named.
    """
    story: list[Words] = []
    told: list[int] = []
    last = line = asked = 0
    for line, text in lines:
        where = f"'{path}', line {line}"
        numbered = _NUMBERED.fullmatch(text)
        if numbered is None:
            raise DataError(f"{where} begins with no number", f"expected {last + 1} or 1, and a sentence or a question")
        number, rest = int(numbered[1]), numbered[2]
        if number == 1:
            story, told = [], []
        elif number != last + 1:
            raise DataError(f"{where} has the number {number}", f"expected {last + 1}, or 1 for another story")
        last = number
        question, *others = rest.split("\t")
        if not _words(question):
            raise DataError(f"{where} has no words", "expected a sentence or a question")
        if not others:
            if question.rstrip().endswith("?"):
                raise DataError(
                    f"{where} is a question without an answer", "expected a tab, the answer, a tab, its facts"
                )
            story.append(_words(question))
            told.append(line)
            continue
        if len(others) != 2 or not others[0].strip():
            raise DataError(
                f"{where} has {len(others) + 1} parts with tabs between",
                "expected a question, its answer and its facts",
            )
        _check_support(others[1], number, where)
        asked = line
        lengths = [*zip(map(len, story), told, strict=True), (len(_words(question)), line)]
        answer = others[0].strip().lower()
        yield Question(line, tuple(story), _words(question), answer, max(lengths, key=lambda pair: pair[0])[1])
    if line != asked:
        raise DataError(f"'{path}' ends in line {line} with a sentence", "expected a question at the end of a story")


def _read(path: Path) -> list[Question]:
    """The questions of a task file.

    Raises:
        DataError: It is none, or has none.
    """
    found = list(questions_of(lines_of(path, _EXPECTED), path))
    if not found:
        raise DataError(f"'{path}' has no question", f"expected {_EXPECTED}")
    return found


def _task_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The training files and the held-out files that a path stands for.

    Raises:
        DataError: It stands for none.
    """
    if what_is(path) == "folder":
        training = [entry for entry in folder_entries(path) if entry.name.endswith(_TRAINING)]
        if not training:
            raise DataError(f"folder '{path}' has no file '..._train.txt'", f"expected {_EXPECTED}")
    else:
        require_file(path, _EXPECTED)
        if not path.name.endswith(_TRAINING):
            raise DataError(f"'{path}' is not named '..._train.txt'", f"expected {_EXPECTED}")
        training = [path]
    held_out = [p.with_name(p.name.removesuffix(_TRAINING) + _HELD_OUT) for p in training]
    return training, [require_file(p, "the questions of evaluation beside those of training") for p in held_out]


@dataclass(frozen=True)
class _Shape:
    """What a request asks for."""

    batch: int
    memory: int
    words: int
    vocabulary: int | None


def _shape(request: BatchRequest, source: str) -> _Shape:
    """The sizes of a request.

    Raises:
        DataError: Its shapes are not those of stories, queries and answers.
    """
    check_inputs(request, source, ("stories", "queries", "answers"))
    stories, queries, answers = (request.spec(name) for name in ("stories", "queries", "answers"))
    if stories is None or len(stories.shape) != 3 or not all(stories.shape):
        told = list(stories.shape) if stories is not None else "no shape"
        raise DataError(f"data source '{source}' cannot fill stories of {told}", "ask for [batch, memory, words]")
    batch, memory, words = stories.shape
    if queries is not None and queries.shape != (batch, words):
        raise DataError(
            f"data source '{source}' cannot fill queries of {list(queries.shape)}", "ask for [batch, words]"
        )
    if answers is not None and (len(answers.shape) != 2 or answers.shape[0] != batch):
        raise DataError(
            f"data source '{source}' cannot fill answers of {list(answers.shape)}", "ask for [batch, vocabulary]"
        )
    sizes = [int(d.high) for name, d in request.draws.items() if name != "answers" and d.kind == "integers"]
    if answers is not None:
        sizes.append(answers.shape[1])
    return _Shape(batch, memory, words, min(sizes) if sizes else None)


def _check_fit(files: Sequence[tuple[Path, list[Question]]], shape: _Shape) -> None:
    """Check that every sentence and question fits.

    Raises:
        DataError: One does not; it is named.
    """
    for path, questions in files:
        for question in questions:
            longest = max(len(words) for words in (*question.story, question.words))
            if longest > shape.words:
                raise DataError(
                    f"'{path}', line {question.longest} has {longest} words, and the graph's sentences {shape.words}",
                    f"give it {longest} or more (--set sentence={longest})",
                )


def _vocabulary(files: Sequence[tuple[Path, list[Question]]], size: int | None, path: str) -> dict[str, int]:
    """Word to id, from 1.

    Raises:
        DataError: There are more words than the graph has.
    """
    words = {
        word
        for _, questions in files
        for q in questions
        for word in (*itertools.chain.from_iterable(q.story), *q.words, q.answer)
    }
    if size is not None and len(words) + 1 > size:
        raise DataError(
            f"'{path}' has {len(words)} words, and the graph's vocabulary {size} with nil",
            f"give it {len(words) + 1} or more (--set vocabulary={len(words) + 1})",
        )
    return {word: index for index, word in enumerate(sorted(words), 1)}


def open_babi(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``stories`` [batch, memory, words], ``queries`` [batch, words] and one-hot ``answers``.

    Every question comes once, in a random order, before any is repeated.

    Args:
        request: The request.
        path: A file ``..._train.txt`` with ``..._test.txt`` beside it, or a folder of them.

    Raises:
        DataError: A file is not what it should be, or does not fit the graph.
    """
    source = f"babi:{path}"
    shape = _shape(request, source)
    training, held_out = _task_files(Path(path))
    files = [(file, _read(file)) for file in (*training, *held_out)]
    _check_fit(files, shape)
    ids = _vocabulary(files, shape.vocabulary, path)
    part = {"training": training, "held-out": held_out}.get(request.split, [*training, *held_out])
    questions = [question for file, found in files if file in part for question in found]
    cut = sum(len(question.story) > shape.memory for question in questions)
    if cut:
        request.remark(
            f"{cut} of {len(questions)} questions of '{path}' ({request.split}) have longer stories than the memory of "
            f"{shape.memory} sentences: those far back are left out"
        )
    return _batches(request, shape, questions, ids)


def _batches(request: BatchRequest, shape: _Shape, questions: list[Question], ids: dict[str, int]) -> Iterator[Batch]:
    indices = endless_shuffle(len(questions), generator(request.seed, "babi"))
    while True:
        values: Batch = {
            "stories": np.zeros((shape.batch, shape.memory, shape.words), np.int64),
            "queries": np.zeros((shape.batch, shape.words), np.int64),
        }
        picked = [questions[index] for index in itertools.islice(indices, shape.batch)]
        for row, question in enumerate(picked):
            for slot, words in enumerate(question.story[: -shape.memory - 1 : -1]):
                values["stories"][row, slot, : len(words)] = [ids[word] for word in words]
            values["queries"][row, : len(question.words)] = [ids[word] for word in question.words]
        answers = request.spec("answers")
        if answers is not None:
            values["answers"] = np.eye(answers.shape[1])[[ids[question.answer] for question in picked]]
        yield {spec.name: values[spec.name].astype(spec.dtype) for spec in request.specs}
