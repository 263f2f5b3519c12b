"""Pipelines of scikit-learn through skl2onnx; counted from their fitted coefficients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from .torch_models import quietly
from .truth import Maker, Truth

__all__ = ["MODELS"]

ROWS, FEATURES, CLASSES = 6, 8, 3
_TEXTS = ["red cat", "green dog", "blue bird", "red dog", "green bird", "blue cat"]

_CASES: dict[str, tuple[Callable[[], Any], int | None]] = {
    "logistic regression": (lambda: LogisticRegression(), ROWS * FEATURES * CLASSES),
    "scaler and perceptron": (
        lambda: make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=20)),
        ROWS * (FEATURES * 16 + 16 * CLASSES),
    ),
    "principal components and regression": (
        lambda: make_pipeline(PCA(4), LinearRegression()),
        ROWS * (FEATURES * 4 + 4),
    ),
    "random forest": (lambda: RandomForestClassifier(5, max_depth=3), 0),
    "linear support vectors": (lambda: LinearSVC(), ROWS * FEATURES * CLASSES),
}


def _make(name: str, path: Path) -> Truth:
    build, macs = _CASES[name]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, 60)
    with quietly():
        fitted = build().fit(x, y)
        model = to_onnx(fitted, initial_types=[("x", FloatTensorType([ROWS, FEATURES]))], target_opset=17)
    path.write_bytes(model.SerializeToString())
    data = "nobody infers the shape of Scaler" if name == "scaler and perceptron" else ""
    return Truth(macs, None, "the fitted model's sizes", data)


def _text(path: Path) -> Truth:
    with quietly():
        fitted = make_pipeline(CountVectorizer(lowercase=False), LogisticRegression()).fit(_TEXTS, [0, 1, 2, 1, 2, 0])
        model = to_onnx(fitted, initial_types=[("text", StringTensorType([ROWS]))], target_opset=17)
    path.write_bytes(model.SerializeToString())
    words = len(fitted[0].vocabulary_)
    return Truth(ROWS * words * CLASSES, None, "the fitted model's sizes", "nobody infers the shape of counted words")


MODELS: dict[str, Maker] = {
    **{f"{name}, skl2onnx": partial(_make, name) for name in _CASES},
    "words and regression, skl2onnx": _text,
}
"""Name to what writes the graph."""
