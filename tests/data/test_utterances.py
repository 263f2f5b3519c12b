"""Utterances: phonemes, cepstra, batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fathom_onnx.data import batches, batches_for
from fathom_onnx.data.speech.cepstra import HOP, RATE, WINDOW, cepstra, mel_filters, samples_for
from fathom_onnx.data.speech.phonemes import INDEX, PHONEMES, SILENCE
from fathom_onnx.data.speech.utterances import SHORTEST, Utterance, random_utterance, synthesise
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import TensorSpec


def test_phonemes_are_the_61_of_timit() -> None:
    assert len(PHONEMES) == len(INDEX) == 61 == workload("speech").config.phonemes
    assert PHONEMES[SILENCE].symbol == "h#"
    assert {p.symbol for p in PHONEMES if p.kind == "closure"} == {f"{c}cl" for c in "bdgptk"}


@settings(max_examples=40)
@given(frames=st.integers(2 * SHORTEST, 200), most=st.integers(2, 50), seed=st.integers(0, 999))
def test_utterances_fit(frames, most, seed) -> None:
    said = random_utterance(frames, most, np.random.default_rng(seed))
    assert said.frames == frames
    assert 2 <= len(said.labels) <= most
    assert (said.labels[0], said.labels[-1]) == (SILENCE, SILENCE)
    assert min(said.lengths) >= SHORTEST
    repeats = sum(a == b for a, b in itertools.pairwise(said.labels))
    assert frames >= len(said.labels) + repeats


def test_batches() -> None:
    spec = workload("speech", "small")
    stream = batches_for(spec, "training", 5)
    batch, second = next(stream), next(stream)
    again = next(batches_for(spec, "training", 5))
    assert all((batch[k] == again[k]).all() for k in batch)
    assert (batch["features"] != second["features"]).any()
    assert len(set(batch["feature_lengths"])) > 1
    for n, (length, count) in enumerate(zip(batch["feature_lengths"], batch["label_lengths"], strict=True)):
        said = batch["features"][n, :length]
        np.testing.assert_allclose(said.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(said.std(0), 1, atol=1e-4)
        assert not batch["features"][n, length:].any()
        assert 0.6 * spec.config.frames <= length <= spec.config.frames
        assert (batch["labels"][n, count:] == SILENCE).all()
        assert batch["labels"][n].max() < 61
    # the features are the same whether or not the labels are asked for
    np.testing.assert_array_equal(next(batches_for(spec, "inference", 5))["features"], batch["features"])


def test_cepstra() -> None:
    rng = np.random.default_rng(0)
    sound = rng.normal(size=samples_for(20))
    found = cepstra(sound, 26)
    assert found.shape == (20, 26)
    assert (WINDOW, HOP, samples_for(1)) == (400, 160, 400)
    # loudness is a constant of the first coefficient only, and goes with the mean
    np.testing.assert_allclose(cepstra(5 * sound, 26), found, atol=1e-9)
    filters = mel_filters()
    centres = filters.argmax(1)
    assert (np.diff(centres) >= 1).all()
    inside = slice(centres[0] + 1, centres[-1])
    np.testing.assert_allclose(filters.sum(0)[inside], 1, atol=1e-12)


def centroid(symbol: str) -> float:
    """Mean frequency of the power of a phoneme's middle, in Hz."""
    said = Utterance((SILENCE, INDEX[symbol], SILENCE), (5, 40, 5))
    sound = synthesise(said, np.random.default_rng(0))
    assert sound.shape == (samples_for(50),)
    power = np.abs(np.fft.rfft(sound[10 * HOP : 40 * HOP])) ** 2
    return float((power * np.fft.rfftfreq(30 * HOP, 1 / RATE)).sum() / power.sum())


def test_phonemes_sound_as_they_should() -> None:
    at = {symbol: centroid(symbol) for symbol in ("uw", "aa", "iy", "sh", "s")}
    assert at["uw"] < at["aa"] < at["sh"] < at["s"]
    assert at["s"] > 4000
    loud = synthesise(Utterance((SILENCE, INDEX["aa"], SILENCE), (20, 40, 20)), np.random.default_rng(1))
    assert loud[30 * HOP : 50 * HOP].std() > 100 * loud[: 15 * HOP].std()


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([("labels", (2, 5))], "was not asked for features"),
        ([("features", (2, 30))], r"cannot fill features of shape \[2, 30\]"),
        ([("features", (2, 3, 26))], r"cannot fill features of shape \[2, 3, 26\]"),
        ([("features", (2, 30, 41))], r"cannot fill features of shape \[2, 30, 41\]"),
        ([("features", (2, 30, 26)), ("labels", (3, 5))], r"cannot fill labels of shape \[3, 5\] with 2 utterances"),
        ([("features", (2, 30, 26)), ("label_lengths", (2, 1))], "cannot fill label_lengths"),
        ([("features", (2, 30, 26)), ("words", (2,))], "has no input 'words'"),
    ],
)
def test_what_utterances_cannot_fill_is_refused(specs, message) -> None:
    with pytest.raises(DataError, match=message):
        batches("utterances", [TensorSpec(name, shape) for name, shape in specs], 0)
