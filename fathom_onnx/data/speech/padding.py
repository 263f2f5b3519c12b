"""Utterances of different lengths in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

from .phonemes import SILENCE

__all__ = ["COEFFICIENTS", "SHORTEST", "UtteranceShape", "padded", "utterance_shape"]

COEFFICIENTS = 40
"""Most coefficients of a frame."""

SHORTEST = 2
"""Frames of the shortest phoneme: an utterance has enough frames for its labels and for blanks between equal ones."""

_INPUTS = ("features", "feature_lengths", "labels", "label_lengths")


@dataclass(frozen=True)
class UtteranceShape:
    """What the graph has room for.

    Attributes:
        batch: Utterances of a batch.
        frames: Frames of the longest utterance.
        coefficients: Coefficients of a frame.
        labels: Labels of the utterance with the most.
    """

    batch: int
    frames: int
    coefficients: int
    labels: int


def utterance_shape(request: BatchRequest, source: str) -> UtteranceShape:
    """The shape that a request asks for.

    Args:
        request: The request.
        source: Name of the data source, for errors.

    Raises:
        DataError: Another input is requested, features are not, or a shape cannot be filled.
    """
    check_inputs(request, source, _INPUTS)
    specs = {spec.name: spec for spec in request.specs}
    if "features" not in specs:
        raise DataError(f"data source '{source}' was not asked for features", "ask for 'features' with the others")
    shape = specs["features"].shape
    if len(shape) != 3 or shape[1] < 2 * SHORTEST or shape[2] > COEFFICIENTS:
        raise DataError(
            f"data source '{source}' cannot fill features of shape {list(shape)}",
            f"ask for [batch, {2 * SHORTEST} or more frames, {COEFFICIENTS} or fewer coefficients]",
        )
    for name, rank in {"feature_lengths": 1, "labels": 2, "label_lengths": 1}.items():
        spec = specs.get(name)
        if spec is None:
            continue
        if len(spec.shape) != rank or spec.shape[0] != shape[0] or (rank == 2 and spec.shape[1] < 2):
            raise DataError(
                f"data source '{source}' cannot fill {name} of shape {list(spec.shape)} with {shape[0]} utterances",
                "ask for [batch] lengths and [batch, 2 or more] labels",
            )
    most = specs["labels"].shape[1] if "labels" in specs else shape[1]
    return UtteranceShape(*shape, most)


def padded(request: BatchRequest, shape: UtteranceShape, utterances: Sequence[tuple[Array, Sequence[int]]]) -> Batch:
    """A batch of utterances: features that are zero past an utterance's end, labels that are silence past its last.

    Args:
        request: The request.
        shape: Its shape.
        utterances: Features [frames, coefficients] and labels of each.
    """
    values = {
        "features": np.zeros((shape.batch, shape.frames, shape.coefficients)),
        "feature_lengths": np.zeros(shape.batch),
        "labels": np.full((shape.batch, shape.labels), SILENCE),
        "label_lengths": np.zeros(shape.batch),
    }
    for index, (features, labels) in enumerate(utterances):
        values["features"][index, : len(features)] = features
        values["feature_lengths"][index] = len(features)
        values["labels"][index, : len(labels)] = labels
        values["label_lengths"][index] = len(labels)
    return {spec.name: values[spec.name].astype(spec.dtype) for spec in request.specs}
