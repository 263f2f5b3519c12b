"""Endless text of an artificial language, for models that predict the next token.

Word classes follow one another as the states of a hidden Markov chain: each class has four successors, with
probabilities 1/2, 1/4, 1/8, 1/8. Token v is in class ``v mod classes``; within a class the k-th token has a probability
proportional to 1/k (Zipf 1949). But every token has a habitual follower in the likeliest next class, and half of the
time that this class comes next, the follower comes. So there is something to learn from the token before (which classes
and which follower), more than which tokens are frequent. The language is the same for every seed; the seed determines
the text only. Each sequence of a batch goes on in the next batch where the last one ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["CLASSES", "FOLLOWS", "Language", "open_tokens"]

CLASSES = 16
"""Word classes of a language; fewer where there are fewer tokens."""

FOLLOWS = 0.5
"""How often a token's habitual follower comes where its class comes next."""

_NEXT = np.array([0.5, 0.25, 0.125, 0.125])
_INPUTS = ("tokens", "labels")


@dataclass(frozen=True)
class Language:
    """The language of a vocabulary.

    Attributes:
        vocabulary: Number of tokens.
        classes: Number of word classes.
        successors: The classes that follow each, the likeliest first, int64 [classes, 4].
    """

    vocabulary: int
    classes: int
    successors: Array

    @classmethod
    def of(cls, vocabulary: int) -> Language:
        """The language of so many tokens, the same in every run."""
        classes = min(CLASSES, vocabulary)
        rng = generator(0, "tokens:classes")
        first = rng.permutation(classes)  # every class follows another, so that all occur
        others = rng.integers(0, classes, (classes, len(_NEXT) - 1))
        return cls(vocabulary, classes, np.concatenate([first[:, None], others], 1))

    def sizes(self, of: Array) -> Array:
        """Number of tokens in each of some classes."""
        sizes: Array = (self.vocabulary - of - 1) // self.classes + 1
        return sizes

    def follower(self, tokens: Array) -> Array:
        """The habitual follower of each token, in the likeliest class after its own."""
        following = self.successors[tokens % self.classes, 0]
        rank = (tokens // self.classes * 7 + 3) % self.sizes(following)
        follower: Array = following + self.classes * rank
        return follower

    def after(self, tokens: Array, rng: np.random.Generator) -> Array:
        """A token drawn after each, int64 of the same shape."""
        choice = np.minimum(np.searchsorted(np.cumsum(_NEXT), rng.random(tokens.shape), side="right"), len(_NEXT) - 1)
        following = self.successors[tokens % self.classes, choice]
        habitual = (choice == 0) & (rng.random(tokens.shape) < FOLLOWS)
        return np.where(habitual, self.follower(tokens), self.drawn(following, rng))

    def drawn(self, classes: Array, rng: np.random.Generator) -> Array:
        """A token of each class, by Zipf's law: the continuous law's quantile, rounded down to a whole rank."""
        sizes = self.sizes(classes)
        rank = np.floor((sizes + 1.0) ** rng.random(classes.shape)).astype(np.int64) - 1
        token: Array = classes + self.classes * np.minimum(rank, sizes - 1)
        return token


def _shape(request: BatchRequest) -> tuple[int, int]:
    """Sequences and tokens of a request.

    Raises:
        DataError: Its shapes are not one [batch, tokens].
    """
    shapes = {tuple(spec.shape) for spec in request.specs}
    if len(shapes) != 1 or any(len(shape) != 2 or not all(shape) for shape in shapes):
        what = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in request.specs) or "no input"
        raise DataError(f"data source 'tokens' cannot fill {what}", "ask for [batch, tokens], the same for labels")
    batch, length = next(iter(shapes))
    return batch, length


def _vocabulary(request: BatchRequest) -> int:
    """Number of tokens, from the draws.

    Raises:
        DataError: The request does not give one, or gives two.
    """
    draws = [request.draws.get(spec.name) for spec in request.specs]
    sizes = {int(d.high) if d is not None and d.kind == "integers" else 0 for d in draws}
    if len(sizes) != 1 or max(sizes) < 2:
        raise DataError("data source 'tokens' does not know how many tokens there are", "give one draw of integers")
    return sizes.pop()


def open_tokens(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``tokens`` and ``labels``, the token after each.

    Raises:
        DataError: Another input is requested, shapes differ, or the number of tokens is not known.
    """
    check_inputs(request, "tokens", _INPUTS)
    batch, length = _shape(request)
    language = Language.of(_vocabulary(request))
    rng = generator(request.seed, "tokens")
    last = language.drawn(rng.integers(0, language.classes, batch), rng)
    while True:
        text = [last]
        for _ in range(length):
            text.append(language.after(text[-1], rng))
        last = text[-1]
        values = np.stack(text, 1)
        parts = {"tokens": values[:, :-1], "labels": values[:, 1:]}
        yield {spec.name: parts[spec.name].astype(spec.dtype) for spec in request.specs}
