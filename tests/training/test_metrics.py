"""Metrics on hand-made outputs, and the edit distance against the recurrence that defines it."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom_onnx.training.metrics import METRICS, edit_distance


def counted(workload: str, name: str, outputs: dict, batch: dict) -> tuple[float, float]:
    (metric,) = [m for m in METRICS[workload] if m.name == name]
    return metric.count({k: np.asarray(v) for k, v in outputs.items()}, {k: np.asarray(v) for k, v in batch.items()})


def test_top_1() -> None:
    logits = [[0.1, 0.9, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    labels = np.eye(3)[[1, 1, 2]]
    assert counted("vgg", "top-1 accuracy", {"logits": logits}, {"labels": labels}) == (2, 3)
    assert counted("memnet", "answer accuracy", {"logits": logits}, {"answers": labels}) == (2, 3)


def test_a_node_without_a_class_does_not_count() -> None:
    logits = [[0.1, 0.9], [2.0, 1.0], [3.0, 1.0]]
    assert counted("gat", "node accuracy", {"logits": logits}, {"labels": [[0, 1], [0, 0], [0, 1]]}) == (1, 2)


def test_tokens_that_follow() -> None:
    outputs = {"logits": np.log([[[1, 2, 1], [6, 1, 1]], [[1, 1, 8], [1, 1, 2]]])}
    batch = {"labels": [[1, 1], [2, 0]]}
    assert counted("llama", "token accuracy", outputs, batch) == (2, 4)
    nats, tokens = counted("mamba", "perplexity", outputs, batch)
    assert (nats, tokens) == (pytest.approx(math.log(2 * 8 * 10 / 8 * 4), rel=1e-12), 4)
    (perplexity,) = [m for m in METRICS["mixtral"] if m.name == "perplexity"]
    assert perplexity.of_mean(nats / tokens) == pytest.approx(80**0.25, rel=1e-12)


def test_clicks() -> None:
    outputs, batch = {"probability": [[0.2], [0.5], [0.7], [0.4]]}, {"clicks": [[0.0], [1.0], [0.0], [1.0]]}
    assert counted("dlrm", "click accuracy", outputs, batch) == (2, 4)


def test_words_after_the_end_of_a_sentence_do_not_count() -> None:
    target = [[5, 6, 2, 0], [7, 2, 0, 0]]
    weights = [[1, 1, 1, 0], [1, 1, 0, 0]]
    ids = [[5, 9, 2, 3], [7, 2, 8, 8]]
    batch = {"target_ids": target, "target_weights": weights}
    assert counted("seq2seq", "token accuracy", {"ids": ids}, batch) == (4, 5)
    assert counted("seq2seq", "sentence accuracy", {"ids": ids}, batch) == (1, 2)


def test_phonemes_of_the_likeliest_path() -> None:
    """Blank is class 3: the path 0 0 3 0 1 | 2 reads 0 0 1, the frame behind the bar being past the utterance's end."""
    path = np.array([[0, 0, 3, 0, 1, 2], [3, 3, 3, 3, 3, 3]])
    logits = np.eye(4)[path].transpose(1, 0, 2)
    batch = {
        "feature_lengths": [5, 6],
        "labels": [[0, 0, 2, 9], [1, 9, 9, 9]],
        "label_lengths": [3, 1],
    }
    assert counted("speech", "phoneme error rate", {"logits": logits}, batch) == (2, 4)


def test_reconstruction_is_the_bernoulli_cross_entropy() -> None:
    found = counted("autoenc", "reconstruction", {"reconstruction": [[0.5, 0.25]]}, {"images": [[1.0, 0.5]]})
    expected = -math.log(0.5) - 0.5 * math.log(0.25) - 0.5 * math.log(0.75)
    assert found == (pytest.approx(expected, rel=1e-12), 1)


@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 3), max_size=7))
def test_edit_distance_is_that_of_its_definition(a: list[int], b: list[int]) -> None:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        same = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(same, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    assert edit_distance(np.array(a, int), np.array(b, int)) == distance(len(a), len(b))
