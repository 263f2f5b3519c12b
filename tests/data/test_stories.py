"""Simulated stories: every answer follows from its story by an interpreter that shares nothing with the simulation."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.data import SOURCES, batches, batches_for
from fathom_onnx.data.text.stories import LONGEST, SHORTEST_MEMORY, TASKS, VOCABULARY, encode, make_story
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Draw


@dataclass(frozen=True)
class Requested:
    name: str
    shape: tuple[int, ...]
    dtype: str = "int64"


GOING = {"went", "journeyed", "travelled", "moved"}
TAKING = {"got", "grabbed", "took", "picked"}
LEAVING = {"dropped", "discarded", "left", "put"}


def interpret(sentences: list[str], question: str) -> str:
    """The answer to a question, from the sentences in the order they happened."""
    where: dict[str, str] = {}
    carrier: dict[str, str] = {}
    moments: list[dict[str, str]] = []  # where every object known of is, after each sentence
    for sentence in sentences:
        who, verb, *_ = words = sentence.split()
        places = dict(moments[-1]) if moments else {}
        if verb in GOING:
            assert where.get(who) != words[-1], "a walk to where one is"
            where[who] = words[-1]
        else:
            thing = words[-2]
            assert words[-1] == "there"
            assert who in where, "an act of somebody whose place was not told"
            if verb in TAKING:
                assert thing not in carrier
                assert places.get(thing, where[who]) == where[who], "an object taken from afar"
                carrier[thing] = who
            else:
                assert verb in LEAVING
                assert carrier.pop(thing) == who
            places[thing] = where[who]
        moments.append(places | {thing: where[holder] for thing, holder in carrier.items()})
    match question.split():
        case ["where", "is", "the", thing]:
            return moments[-1][thing]
        case ["where", "is", who]:
            return where[who]
        case ["where", "was", "the", thing, "before", "the", place]:
            been = [m[thing] for m in moments if thing in m]
            arrivals = [a for a, b in itertools.pairwise(been) if b == place and a != place]
            return arrivals[-1]
    raise AssertionError(question)


def test_the_interpreter_on_a_story_by_hand() -> None:
    told = [
        "mary went to the office",
        "mary picked up the milk there",
        "mary journeyed to the garden",
        "john moved to the hallway",
        "mary put down the milk there",
        "mary went back to the kitchen",
    ]
    assert interpret(told, "where is mary") == "kitchen"
    assert interpret(told, "where is the milk") == "garden"
    assert interpret(told, "where was the milk before the garden") == "office"
    with pytest.raises(AssertionError, match="from afar"):
        interpret([*told, "john moved to the office", "john got the milk there"], "where is john")


@settings(max_examples=200)
@given(st.sampled_from(sorted(TASKS)), st.integers(SHORTEST_MEMORY, 60), st.integers(0, 2**32))
def test_the_answer_follows_from_the_story(task: int, memory: int, seed: int) -> None:
    story = make_story(task, memory, random.Random(seed))
    assert 2 <= len(story.sentences) <= memory
    assert story.answer == interpret(list(story.sentences), story.question)
    assert all(len(text.split()) <= LONGEST for text in (*story.sentences, story.question))


def words_of(ids: np.ndarray) -> str:
    assert not ids[np.count_nonzero(ids) :].any(), "nil within a sentence"
    return " ".join(VOCABULARY[index] for index in ids if index)


def test_a_batch_says_the_same_with_the_last_sentence_first() -> None:
    made = workload("memnet", "paper")
    tasks: Counter[str] = Counter()
    for batch in itertools.islice(batches_for(made, "training", 5), 10):
        assert batch["stories"].dtype == batch["queries"].dtype == np.int64
        assert batch["answers"].dtype == np.float32
        for slots, query, answer in zip(batch["stories"], batch["queries"], batch["answers"], strict=True):
            newest_first = [words_of(slot) for slot in slots]
            count = sum(map(bool, newest_first))
            assert not any(newest_first[count:]), "an empty slot within a story"
            told = newest_first[:count][::-1]
            assert sorted(set(answer)) == [0, 1]
            assert answer.sum() == 1
            assert VOCABULARY[answer.argmax()] == interpret(told, words_of(query))
            tasks[words_of(query).split()[1] + str(len(words_of(query).split()))] += 1
    assert tasks.keys() == {"is3", "is4", "was7"}
    assert all(70 < count < 145 for count in tasks.values())  # 320 questions, a third of each kind


def test_the_vocabulary() -> None:
    assert VOCABULARY[0] == ""
    assert list(VOCABULARY) == sorted(set(VOCABULARY))
    assert (len(VOCABULARY), LONGEST) == (36, 7)
    assert encode("where is mary", 5) == tuple(VOCABULARY.index(word) for word in ("where", "is", "mary", "", ""))


def test_a_seed_gives_the_same_stories_with_and_without_answers() -> None:
    made = workload("memnet", "tiny")
    streams = [batches_for(made, mode, seed) for mode, seed in (("training", 1), ("inference", 1), ("training", 2))]
    one, again, other = ([next(stream) for _ in range(3)] for stream in streams)
    for a, b in zip(one, again, strict=True):
        assert set(a) - set(b) == {"answers"}
        assert all((a[name] == b[name]).all() for name in b)
    assert not np.array_equal(one[0]["stories"], other[0]["stories"])
    assert not np.array_equal(one[0]["stories"], one[1]["stories"])


def test_stories_are_not_called_real() -> None:
    assert SOURCES["stories"].kind == "simulated"


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([Requested("images", (2, 3))], "no input 'images'"),
        ([Requested("queries", (2, 7))], "not asked for its stories"),
        ([Requested("stories", (2, 10, 6))], r"shape \[2, 10, 6\]; .* 3 or more and 7 words or more"),
        ([Requested("stories", (2, 2, 7))], r"shape \[2, 2, 7\]"),
        ([Requested("stories", (2, 70))], r"shape \[2, 70\]"),
        ([Requested("stories", (2, 10, 7)), Requested("queries", (3, 7))], r"queries of shape \[3, 7\]; .* \[2, 7\]"),
        ([Requested("stories", (2, 10, 7)), Requested("answers", (3, 40))], r"answers of shape \[3, 40\]; .* batch 2"),
        (
            [Requested("stories", (2, 10, 7)), Requested("answers", (2, 35))],
            "36 words with nil, more than .* 35; .* 36",
        ),
    ],
)
def test_what_cannot_be_filled_is_refused(specs: list[Requested], message: str) -> None:
    with pytest.raises(DataError, match=message):
        batches("stories", specs, 0)


def test_ids_beyond_a_table_are_refused_where_nothing_else_says_its_size() -> None:
    with pytest.raises(DataError, match="more than the vocabulary of 20"):
        batches("stories", [Requested("stories", (2, 10, 7))], 0, {"stories": Draw("integers", 0, 20)})
    with pytest.raises(DataError, match="more than the vocabulary of 30"):
        batches_for(workload("memnet", "tiny", {"vocabulary": 30}), "inference", 0)
