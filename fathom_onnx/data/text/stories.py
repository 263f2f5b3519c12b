"""Stories in the manner of bAbI tasks 1 to 3 (Weston et al. 2015, arXiv:1502.05698), made by a small simulated world.

People walk from place to place, take objects and put them down; the sentences tell it, in bAbI's own words. A question
needs one, two or three of the sentences: where a person is, where an object is, where an object was before a place.
Every answer follows from the story alone: nobody acts before the story has said where they are, and an object lies
where it is first taken. Each question of a batch is of any of the three tasks with the same chance.

Stories differ from bAbI's in length: they are made to fit the memory, where bAbI's longest (task 3, 320 sentences) are
cut to their last sentences and may lose a fact.

As the memory network's paper has it, the sentence nearest to the question stands first (Sukhbaatar et al. 2015,
section 4.1). Words are lower case without stops; id 0 is nil, which fills short sentences and empty slots at the end.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["LONGEST", "SHORTEST_MEMORY", "TASKS", "VOCABULARY", "Story", "encode", "open_stories", "tell"]

PEOPLE = ("daniel", "john", "mary", "sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
OBJECTS = ("apple", "football", "milk")

_SENTENCES = {
    "go": tuple(
        f"{{person}} {verb} to the {{place}}" for verb in ("went", "went back", "journeyed", "travelled", "moved")
    ),
    "take": tuple(f"{{person}} {verb} the {{object}} there" for verb in ("got", "grabbed", "took", "picked up")),
    "drop": tuple(f"{{person}} {verb} the {{object}} there" for verb in ("dropped", "discarded", "left", "put down")),
}
_QUESTIONS = {
    1: "where is {person}",
    2: "where is the {object}",
    3: "where was the {object} before the {place}",
}


def _vocabulary() -> tuple[str, ...]:
    texts = [text for texts in _SENTENCES.values() for text in texts] + list(_QUESTIONS.values())
    words = {word for text in texts for word in text.split() if not word.startswith("{")}
    return ("", *sorted(words | {*PEOPLE, *PLACES, *OBJECTS}))


VOCABULARY: tuple[str, ...] = _vocabulary()
"""The words by id; id 0 is nil."""

LONGEST = max(len(text.split()) for texts in (*_SENTENCES.values(), _QUESTIONS.values()) for text in texts)
"""Words of the longest sentence or question."""

SHORTEST_MEMORY = 3
"""Sentences that a question of task 3 needs: there, taken, and away."""

_IDS = {word: index for index, word in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class Story:
    """One question with its story: sentences in the order they happened, all without stops and in lower case."""

    task: int
    sentences: tuple[str, ...]
    question: str
    answer: str


@dataclass
class _World:
    """Where everybody and everything is, as far as the story has told.

    Attributes:
        person_at: Person to place.
        held_by: Object to who carries it.
        trail: Object to the places where it has been, the last being where it is.
    """

    rng: random.Random
    person_at: dict[str, str] = field(default_factory=dict)
    held_by: dict[str, str] = field(default_factory=dict)
    trail: dict[str, list[str]] = field(default_factory=dict)

    def _takes(self) -> list[tuple[str, str]]:
        """(person, object) that can happen: the object lies where the person is, or has not been spoken of."""
        free = [thing for thing in OBJECTS if thing not in self.held_by]
        return [
            (person, thing)
            for person, place in self.person_at.items()
            for thing in free
            if thing not in self.trail or self.trail[thing][-1] == place
        ]

    def _tell(self, action: str, **words: str) -> str:
        return self.rng.choice(_SENTENCES[action]).format(**words)

    def go(self) -> str:
        """Somebody walks to another place, with what they carry."""
        person = self.rng.choice(PEOPLE)
        place = self.rng.choice([p for p in PLACES if p != self.person_at.get(person)])
        self.person_at[person] = place
        for thing, holder in self.held_by.items():
            if holder == person:
                self.trail[thing].append(place)
        return self._tell("go", person=person, place=place)

    def take(self) -> str:
        """Somebody takes an object where they are; if nobody can, somebody walks."""
        possible = self._takes()
        if not possible:
            return self.go()
        person, thing = self.rng.choice(possible)
        self.held_by[thing] = person
        self.trail.setdefault(thing, [self.person_at[person]])
        return self._tell("take", person=person, object=thing)

    def drop(self) -> str:
        """Somebody puts down what they carry; if nobody carries anything, somebody walks."""
        if not self.held_by:
            return self.go()
        thing = self.rng.choice(list(self.held_by))
        return self._tell("drop", person=self.held_by.pop(thing), object=thing)


_Asked = tuple[dict[str, str], str]
"""What fills a question, and its answer."""


def _where_is_somebody(world: _World) -> list[_Asked]:
    return [({"person": person}, place) for person, place in world.person_at.items()]


def _where_is_something(world: _World) -> list[_Asked]:
    return [({"object": thing}, trail[-1]) for thing, trail in world.trail.items()]


def _where_was_something(world: _World) -> list[_Asked]:
    found = {}
    for thing, trail in world.trail.items():
        for before, place in itertools.pairwise(trail):
            found[thing, place] = before  # the last time that it came to a place is what is meant
    return [({"object": thing, "place": place}, before) for (thing, place), before in found.items()]


@dataclass(frozen=True)
class Task:
    """A bAbI task: how likely somebody goes, takes, drops; sentences of a story; what can be asked of a world."""

    chances: tuple[float, float, float]
    shortest: int
    longest: int
    ask: Callable[[_World], list[_Asked]]


TASKS: dict[int, Task] = {
    1: Task((1, 0, 0), 2, 10, _where_is_somebody),
    2: Task((0.6, 0.25, 0.15), 3, 25, _where_is_something),
    3: Task((0.6, 0.25, 0.15), 6, 50, _where_was_something),
}
"""bAbI's number to the task: single, two, three supporting facts."""


def tell(number: int, memory: int, rng: random.Random) -> Story:
    """A story of at most ``memory`` sentences and a question of task ``number``."""
    task = TASKS[number]
    longest = min(task.longest, memory)
    length = rng.randint(min(task.shortest, longest), longest)
    while True:  # in some stories nothing happens that the task could ask for
        world = _World(rng)
        actions = (world.go, world.take, world.drop)
        sentences = tuple(action() for action in rng.choices(actions, task.chances, k=length))
        asked = task.ask(world)
        if asked:
            words, answer = rng.choice(asked)
            return Story(number, sentences, _QUESTIONS[number].format(**words), answer)


def encode(text: str, length: int) -> list[int]:
    """The word ids of a sentence, filled with nil to ``length``."""
    ids = [_IDS[word] for word in text.split()]
    return ids + [0] * (length - len(ids))


def _check(request: BatchRequest) -> tuple[int, int, int]:
    """Batch, memory and sentence length that are asked for.

    Raises:
        DataError: Shapes that do not belong together or are too small.
    """
    check_inputs(request, "stories", ("stories", "queries", "answers"))
    stories, queries, answers = (request.spec(name) for name in ("stories", "queries", "answers"))
    if stories is None:
        raise DataError("data source 'stories' was not asked for its stories", "ask for 'stories'")
    if len(stories.shape) != 3 or stories.shape[1] < SHORTEST_MEMORY or stories.shape[2] < LONGEST:
        raise DataError(
            f"data source 'stories' cannot fill stories of shape {list(stories.shape)}",
            f"ask for [batch, memory, words] with a memory of {SHORTEST_MEMORY} or more and {LONGEST} words or more",
        )
    batch, memory, words = stories.shape
    if queries is not None and queries.shape != (batch, words):
        raise DataError(
            f"data source 'stories' cannot fill queries of shape {list(queries.shape)}",
            f"ask for [batch, words], here {[batch, words]}",
        )
    if answers is not None and (len(answers.shape) != 2 or answers.shape[0] != batch):
        raise DataError(
            f"data source 'stories' cannot fill answers of shape {list(answers.shape)}",
            f"ask for one-hot answers [batch, vocabulary], here of batch {batch}",
        )
    rooms = [int(draw.high) for name, draw in request.draws.items() if name in ("stories", "queries")]
    if answers is not None:
        rooms.append(answers.shape[1])
    if rooms and min(rooms) < len(VOCABULARY):
        raise DataError(
            f"data source 'stories' has {len(VOCABULARY)} words with nil, more than the vocabulary of {min(rooms)}",
            f"give a vocabulary of {len(VOCABULARY)} or more",
        )
    return batch, memory, words


def open_stories(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``stories`` [batch, memory, words], ``queries`` [batch, words] and one-hot ``answers``.

    Raises:
        DataError: Another input, or shapes that cannot be filled.
    """
    batch, memory, words = _check(request)
    # single draws: numpy's cost ten times as much
    rng = random.Random(int(generator(request.seed, "stories").integers(2**63)))
    empty = [0] * words
    while True:
        told = [tell(rng.choice(list(TASKS)), memory, rng) for _ in range(batch)]
        made: Batch = {}
        for spec in request.specs:
            rows: Array
            if spec.name == "answers":
                rows = np.eye(spec.shape[1])[[_IDS[story.answer] for story in told]]
            elif spec.name == "queries":
                rows = np.array([encode(story.question, words) for story in told])
            else:
                rows = np.array(
                    [
                        [encode(sentence, words) for sentence in reversed(story.sentences)]
                        + [empty] * (memory - len(story.sentences))
                        for story in told
                    ]
                )
            made[spec.name] = rows.astype(spec.dtype)
        yield made
