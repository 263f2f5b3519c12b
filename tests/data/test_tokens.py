"""The source of tokens: continuity, what there is to learn, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fathom_onnx.data import batches
from fathom_onnx.data.contract import generator
from fathom_onnx.data.text.tokens import CLASSES, FOLLOWS, Language
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Draw, TensorSpec


def stream(vocabulary: int = 200, batch: int = 3, length: int = 5, seed: int = 0, names=("tokens", "labels")):
    draw = Draw("integers", 0, vocabulary)
    specs = [TensorSpec(name, (batch, length), "int64", draw=draw) for name in names]
    return batches("tokens", specs, seed, dict.fromkeys(names, draw))


def test_labels_are_the_next_tokens_and_batches_go_on_where_the_last_one_ended() -> None:
    made = list(itertools.islice(stream(), 4))
    for batch, following in itertools.pairwise(made):
        np.testing.assert_array_equal(batch["labels"][:, :-1], batch["tokens"][:, 1:])
        np.testing.assert_array_equal(batch["labels"][:, -1], following["tokens"][:, 0])
    text = np.concatenate([batch["tokens"] for batch in made], 1)
    one = np.concatenate([b["tokens"] for b in itertools.islice(stream(length=1, names=("tokens",)), 20)], 1)
    np.testing.assert_array_equal(one, text)  # however it is cut


def test_a_seed_determines_the_text() -> None:
    first, again, other = (next(stream(seed=seed))["tokens"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("vocabulary", [2, 15, 16, 17, 200, 128_256])
def test_every_token_is_one_of_the_vocabulary(vocabulary: int) -> None:
    batch = next(stream(vocabulary, 50, 40))
    assert batch["tokens"].min() >= 0
    assert batch["labels"].max() < vocabulary
    language = Language.of(vocabulary)
    sizes = language.sizes(np.arange(language.classes))
    assert sizes.sum() == vocabulary
    followers = language.follower(np.arange(vocabulary))
    assert (followers >= 0).all()
    assert (followers < vocabulary).all()


def test_what_comes_next_has_the_probabilities_that_are_stated() -> None:
    language = Language.of(320)
    count = 40_000
    token = 37
    after = language.after(np.full(count, token), generator(0, "test"))
    following = language.successors[token % CLASSES]
    shares = {c: sum(p for s, p in zip(following, (0.5, 0.25, 0.125, 0.125), strict=True) if s == c) for c in following}
    for of_class, share in shares.items():
        assert np.mean(after % CLASSES == of_class) == pytest.approx(share, abs=0.01)
    # the follower: half of the first half, and what Zipf's law gives it else
    assert language.follower(np.array([token]))[0] % CLASSES == following[0]
    assert np.mean(after == language.follower(np.array([token]))[0]) >= 0.5 * FOLLOWS - 0.01


def test_frequencies_within_a_class_fall_as_zipf_says() -> None:
    language = Language.of(160)
    drawn = language.drawn(np.zeros(60_000, np.int64), generator(0, "test")) // CLASSES
    # the quantile of 1 / x from 1 to n + 1, rounded down: P(k) = log((k + 1) / k) / log(n + 1)
    expected = np.log((np.arange(1, 11) + 1) / np.arange(1, 11)) / np.log(11)
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), expected, atol=0.01)


def test_refusals() -> None:
    draw = Draw("integers", 0, 9)
    draws = {"tokens": draw, "labels": draw}
    with pytest.raises(DataError, match=r"cannot fill tokens \[3\]"):
        batches("tokens", [TensorSpec("tokens", (3,), "int64")], 0, draws)
    with pytest.raises(DataError, match=r"cannot fill tokens \[3, 4\], labels \[3, 5\]"):
        batches("tokens", [TensorSpec("tokens", (3, 4), "int64"), TensorSpec("labels", (3, 5), "int64")], 0, draws)
    with pytest.raises(DataError, match="how many tokens there are"):
        batches("tokens", [TensorSpec("tokens", (3, 4), "int64")], 0)
    with pytest.raises(DataError, match="has no input 'images'"):
        batches("tokens", [TensorSpec("images", (3, 4), "int64")], 0, draws)
