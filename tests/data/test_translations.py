"""Sentences and their translations: words, order, batches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fathom_onnx.data import batches
from fathom_onnx.data.text.translations import FIRST_WORD, dictionary, log_uniform, reordered
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Draw, TensorSpec
from fathom_onnx.workloads.suite2016.seq2seq import EOS, PAD


def specs(batch: int = 3, source: int = 6, target: int = 8, vocabulary: int = 50, samples: int = 5) -> list[TensorSpec]:
    ids = Draw("integers", 0, vocabulary)
    return [
        TensorSpec("source_ids", (batch, source), "int64", draw=ids),
        TensorSpec("target_ids", (batch, target), "int64", draw=ids),
        TensorSpec("target_weights", (batch, target)),
        TensorSpec("sampled_ids", (samples,), "int64", draw=ids),
    ]


def stream(requested: list[TensorSpec], seed: int = 0):
    return batches("translations", requested, seed, {s.name: s.draw for s in requested})


def test_sentences_and_their_translations() -> None:
    words = dictionary(50)
    lengths = set()
    for batch, _ in zip(stream(specs()), range(30), strict=False):
        for source, target, weights in zip(
            batch["source_ids"], batch["target_ids"], batch["target_weights"], strict=True
        ):
            length = int((source != PAD).sum())
            lengths.add(length)
            assert (source[:length] >= FIRST_WORD).all()
            assert (source[length:] == PAD).all()
            assert target[:length].tolist() == [words[w] for w in reordered(source[:length].tolist())]
            assert target[length] == EOS
            assert (target[length + 1 :] == PAD).all()
            assert weights.tolist() == [1.0] * (length + 1) + [0.0] * (8 - length - 1)
    assert lengths == {3, 4, 5, 6}


def test_word_order_by_hand() -> None:
    assert reordered([4, 5, 6, 8, 7, 9, 10]) == [5, 4, 8, 6, 7, 9, 10]
    assert reordered([4]) == [4]
    assert reordered([]) == []


def test_the_dictionary_is_one_to_one_and_keeps_frequent_words_frequent() -> None:
    words = dictionary(4000)
    assert sorted(words.tolist()) == list(range(4000))
    assert words[:FIRST_WORD].tolist() == list(range(FIRST_WORD))
    ranks = np.arange(1, 3997)
    assert (words[FIRST_WORD:] != ranks + FIRST_WORD - 1).mean() > 0.9
    ratio = (words[FIRST_WORD:] - FIRST_WORD + 1) / ranks
    assert ratio.min() > 1 / 2.5
    assert ratio.max() < 2.5


def test_words_follow_zipf() -> None:
    requested = [replace(specs()[0], shape=(200, 20), draw=Draw("integers", 0, 24))]
    ids = np.concatenate([b["source_ids"].ravel() for b, _ in zip(stream(requested), range(5), strict=False)])
    counts = np.bincount(ids[ids >= FIRST_WORD], minlength=24)[FIRST_WORD:]
    expected = 1 / np.arange(1, 21)
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=0.01)


def test_sampled_classes_are_log_uniform() -> None:
    drawn = log_uniform(200_000, 9, np.random.default_rng(0))
    assert drawn.dtype == np.int64
    ids = np.arange(9)
    expected = np.log((ids + 2) / (ids + 1)) / math.log(10)
    np.testing.assert_allclose(np.bincount(drawn, minlength=9) / drawn.size, expected, atol=0.005)


def test_a_seed_decides_the_sentences_and_not_the_languages() -> None:
    first, again, other = (next(stream(specs(), seed)) for seed in (0, 0, 1))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert (first["source_ids"] != other["source_ids"]).any()
    alone = next(stream(specs()[:1]))
    assert alone["source_ids"].shape == (3, 6)
    assert list(alone) == ["source_ids"]
    assert {n: (v.shape, str(v.dtype)) for n, v in first.items()} == {s.name: (s.shape, s.dtype) for s in specs()}


def test_what_the_source_cannot_fill() -> None:
    ids = Draw("integers", 0, 50)
    wrong = {
        "no input 'images'": [TensorSpec("images", (1, 2))],
        "does not know how many words 'source_ids' has": [replace(specs()[0], draw=Draw())],
        "different lengths": [*specs()[:2], TensorSpec("target_weights", (3, 9))],
        "cannot fill source_ids": [*specs()[:1], TensorSpec("target_ids", (4, 8), "int64", draw=ids)],
        "target length of 1": specs(target=1),
        "as many words in both": [specs()[0], replace(specs()[1], draw=Draw("integers", 0, 40))],
        "was asked for no input": [],
    }
    for message, requested in wrong.items():
        with pytest.raises(DataError, match=message):
            stream(requested)
