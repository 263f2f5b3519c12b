"""Metrics in the terms of each workload's field, from what its inference graph gives for a batch.

A metric is a pair of sums, so that it can be added up over batches: what is counted, and out of how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from fathom_onnx.workloads.contract import Array
from fathom_onnx.workloads.suite2016.seq2seq import EOS

__all__ = ["METRICS", "Metric", "edit_distance"]

Batch = Mapping[str, Array]


@dataclass(frozen=True)
class Metric:
    """A metric of a workload.

    Attributes:
        name: Its name in the field.
        count: From outputs and batch to (what is counted, out of how much).
        of_mean: From the quotient of the sums over all batches to the metric.
    """

    name: str
    count: Callable[[Batch, Batch], tuple[float, float]]
    of_mean: Callable[[float], float] = float


def _top_1(labels: str) -> Callable[[Batch, Batch], tuple[float, float]]:
    """How often the largest score is that of the one-hot row's class."""

    def count(outputs: Batch, batch: Batch) -> tuple[float, float]:
        rows = batch[labels]
        labelled = rows.any(axis=-1)  # a row of zeros has no class
        right = (outputs["logits"].argmax(-1) == rows.argmax(-1)) & labelled
        return float(right.sum()), float(labelled.sum())

    return count


def _tokens(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Words of greedy decoding that are right, of those up to the end of each sentence, that included."""
    counted = batch["target_weights"] > 0
    return float(((outputs["ids"] == batch["target_ids"]) & counted).sum()), float(counted.sum())


def _sentences(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Sentences that greedy decoding gets wholly right."""
    counted = batch["target_weights"] > 0
    right = ((outputs["ids"] == batch["target_ids"]) | ~counted).all(axis=1)
    assert ((batch["target_ids"] == EOS) & counted).any(axis=1).all()
    return float(right.sum()), float(right.size)


def edit_distance(found: Array, true: Array) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence of labels into another (Levenshtein)."""
    row = np.arange(len(true) + 1)
    for number, label in enumerate(found, 1):
        substituted = row[:-1] + (true != label)
        best = np.minimum(substituted, row[1:] + 1)
        # an insertion costs one more than the entry before it: a running minimum of what is left of that
        row = np.concatenate([[number], best])
        row = np.minimum.accumulate(row - np.arange(len(row))) + np.arange(len(row))
    return int(row[-1])


def _phonemes(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Edits that the likeliest path's labels need, of all true labels: repeats and blanks of the path are dropped."""
    blank = outputs["logits"].shape[-1] - 1
    paths = outputs["logits"].argmax(-1).T
    edits = labels = 0
    for path, frames, true, length in zip(
        paths, batch["feature_lengths"], batch["labels"], batch["label_lengths"], strict=True
    ):
        path = path[:frames]
        changed = np.concatenate([[True], path[1:] != path[:-1]]) if len(path) else np.zeros(0, bool)
        edits += edit_distance(path[changed & (path != blank)], true[:length])
        labels += int(length)
    return float(edits), float(labels)


def _reconstruction(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Bernoulli cross-entropy between images and reconstructions, nats an image."""
    made = np.clip(outputs["reconstruction"].astype("float64"), 1e-12, 1 - 1e-12)
    images = batch["images"].astype("float64")
    loss = -(images * np.log(made) + (1 - images) * np.log1p(-made))
    return float(loss.sum()), float(len(loss))


def _next_tokens(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Tokens that follow and have the largest score."""
    right = outputs["logits"].argmax(-1) == batch["labels"]
    return float(right.sum()), float(right.size)


def _surprise(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Nats of the tokens that follow."""
    found = log_softmax(outputs["logits"].astype("float64"), axis=-1)
    nats = -np.take_along_axis(found, batch["labels"][..., None], axis=-1)
    return float(nats.sum()), float(nats.size)


def _clicks(outputs: Batch, batch: Batch) -> tuple[float, float]:
    """Records where a click is said to be as likely as not, or more, if and only if there was one."""
    right = (outputs["probability"] >= 0.5) == (batch["clicks"] >= 0.5)
    return float(right.sum()), float(right.size)


METRICS: dict[str, tuple[Metric, ...]] = {
    "seq2seq": (Metric("token accuracy", _tokens), Metric("sentence accuracy", _sentences)),
    "memnet": (Metric("answer accuracy", _top_1("answers")),),
    "speech": (Metric("phoneme error rate", _phonemes),),
    "autoenc": (Metric("reconstruction", _reconstruction),),
    **{name: (Metric("top-1 accuracy", _top_1("labels")),) for name in ("residual", "vgg", "alexnet", "vit")},
    **{
        name: (Metric("perplexity", _surprise, math.exp), Metric("token accuracy", _next_tokens))
        for name in ("llama", "mixtral", "mamba")
    },
    "gat": (Metric("node accuracy", _top_1("labels")),),
    "dlrm": (Metric("click accuracy", _clicks),),
}
"""Workload to its metrics; a workload without one has its held-out loss."""
