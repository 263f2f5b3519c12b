"""Utterances of a formant synthesiser with their phonemes: speech to train on, since no recordings may be distributed.

A random speaker (pitch, length of the vocal tract, pace) says random syllables of TIMIT's 61 phonemes between two
silences. A syllable has an onset, a vowel and sometimes a coda; stops follow their closures. Pulses (voice), noise or
both pass through three resonances that move from the formants of one phoneme to those of the next (Klatt 1980,
simplified). The features are the cepstral coefficients of the sound. There are no words, and nothing is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, generator
from fathom_onnx.workloads.contract import Array

from .cepstra import HOP, RATE, cepstra, samples_for
from .padding import SHORTEST, UtteranceShape, padded, utterance_shape
from .phonemes import INDEX, PHONEMES, SILENCE, Phoneme

__all__ = ["Utterance", "open_utterances", "random_utterance", "synthesise"]

_SHORTEST_SHARE = 0.6
"""Frames of the shortest utterance over the frames of the input."""
_BANDWIDTHS = (80.0, 120.0, 200.0)
"""Of the three resonances of a voiced sound, in Hz."""
_NOISE_WIDER = 4.0
"""Bandwidths of an unvoiced sound over those of a voiced one."""
_PIECES = 3
"""Pieces of constant formants in a gliding phoneme."""
_SMOOTHING = RATE // 200  # 5 ms
_BACKGROUND = 1e-4


def _of(*kinds: str) -> tuple[int, ...]:
    return tuple(index for index, phoneme in enumerate(PHONEMES) if phoneme.kind in kinds)


_VOWELS = _of("vowel")
_CONSONANTS = _of("semivowel", "nasal", "fricative", "stop")
_PAUSES = (INDEX["pau"], INDEX["epi"])
_CLOSURES = {INDEX[stop]: INDEX[f"{stop}cl"] for stop in "bdgptk"} | {
    INDEX["jh"]: INDEX["dcl"],
    INDEX["ch"]: INDEX["tcl"],
}
"""Label of a sound that begins with a closed mouth, to that of the closure before it."""


@dataclass(frozen=True)
class Utterance:
    """A sequence of phonemes (labels), each with its length in frames."""

    labels: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def frames(self) -> int:
        """Frames of the whole utterance."""
        return sum(self.lengths)


def _syllable(rng: np.random.Generator) -> list[int]:
    """An onset, a vowel and half of the time a coda; sometimes a pause instead."""

    def consonant() -> list[int]:
        label = int(rng.choice(_CONSONANTS))
        return [_CLOSURES[label], label] if label in _CLOSURES else [label]

    if rng.random() < 0.05:
        return [int(rng.choice(_PAUSES))]
    return [*consonant(), int(rng.choice(_VOWELS)), *(consonant() if rng.random() < 0.5 else [])]


def random_utterance(frames: int, most: int, rng: np.random.Generator) -> Utterance:
    """A random utterance of exactly ``frames`` frames and at most ``most`` phonemes, including the silences around it.

    At the end of the frames the last phoneme is cut short; once ``most`` is reached, the last silence fills the rest.
    """
    pace = rng.uniform(0.8, 1.25)

    def length(label: int) -> int:
        usual = PHONEMES[label].milliseconds * pace * rng.lognormal(0.0, 0.2)
        return max(SHORTEST, round(usual * RATE / 1000 / HOP))

    labels, lengths = [SILENCE], [min(length(SILENCE), max(SHORTEST, frames // 8))]
    while True:
        for label in _syllable(rng):
            left = frames - sum(lengths) - SHORTEST
            if len(labels) + 2 > most or left < SHORTEST:
                return Utterance((*labels, SILENCE), (*lengths, left + SHORTEST))
            labels.append(label)
            lengths.append(min(length(label), left))


def _resonances(formants: Sequence[float], widths: Sequence[float]) -> Array:
    """Three resonators in series as second-order sections [3, 6]; formants and bandwidths in Hz."""
    rows = []
    for formant, width in zip(formants, widths, strict=True):
        r = math.exp(-math.pi * width / RATE)
        rows.append([1.0, 0.0, 0.0, 1.0, -2 * r * math.cos(2 * math.pi * formant / RATE), r * r])
    return np.array(rows)


def _pieces(phoneme: Phoneme) -> Iterator[tuple[float, ...]]:
    """The formants of each piece of a phoneme, from its start to the end of its glide; one piece if it is steady."""
    if phoneme.glide == phoneme.formants:
        yield phoneme.formants
        return
    for share in np.linspace(0.0, 1.0, _PIECES):
        yield tuple(a + share * (b - a) for a, b in zip(phoneme.formants, phoneme.glide, strict=True))


def synthesise(utterance: Utterance, rng: np.random.Generator) -> Array:
    """The sound of an utterance in a random voice: samples that give exactly its frames."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import sosfilt

    count = samples_for(utterance.frames)
    pitch = rng.uniform(90.0, 240.0) * np.linspace(1.05, 0.9, count)
    tract = rng.uniform(0.92, 1.15)
    phase = np.cumsum(pitch / RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0) * np.sqrt(RATE / pitch)  # of power 1, like the noise
    noise = rng.normal(0.0, 1.0, count)
    sound, gain = np.zeros(count), np.zeros(count)
    state = np.zeros((3, 2))
    ends = np.cumsum(utterance.lengths) * HOP
    ends[-1] = count
    start = 0
    for label, end in zip(utterance.labels, ends, strict=True):
        phoneme = PHONEMES[label]
        widths = [w * (1.0 if phoneme.voice > 0.5 else _NOISE_WIDER) for w in _BANDWIDTHS]
        targets = list(_pieces(phoneme))
        edges = np.linspace(start, end, len(targets) + 1).astype(int)
        for formants, a, b in zip(targets, edges[:-1], edges[1:], strict=True):
            source = phoneme.voice * pulses[a:b] + (1.0 - phoneme.voice) * noise[a:b]
            # a resonance must lie below half the sampling rate
            centres = [min(f * tract, 0.48 * RATE) for f in formants]
            sound[a:b], state = sosfilt(_resonances(centres, widths), source, zi=state)
            gain[a:b] = phoneme.level / (np.sqrt(np.mean(sound[a:b] ** 2)) + 1e-9)
        start = end
    smooth = uniform_filter1d(np.log(gain), _SMOOTHING, mode="nearest")
    spoken: Array = sound * np.exp(smooth) + rng.normal(0.0, _BACKGROUND, count)
    return spoken


def open_utterances(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of utterances, each with its own length.

    ``features`` [batch, frames, coefficients] are zero past ``feature_lengths`` [batch]; ``labels`` [batch, most] are
    phonemes, and silence past ``label_lengths`` [batch].

    Raises:
        DataError: Another input is requested, features are not, or a shape cannot be filled.
    """
    shape = utterance_shape(request, "utterances")
    rng = generator(request.seed, "utterances")
    while True:
        # a generator for each, so that the content of one utterance does not change the sound of the next
        voices = [np.random.default_rng(rng.integers(2**63)) for _ in range(shape.batch)]
        yield padded(request, shape, [_spoken(shape, voice) for voice in voices])


def _spoken(shape: UtteranceShape, voice: np.random.Generator) -> tuple[Array, Sequence[int]]:
    """Features and labels of an utterance."""
    length = int(voice.integers(max(2 * SHORTEST, math.ceil(_SHORTEST_SHARE * shape.frames)), shape.frames + 1))
    utterance = random_utterance(length, shape.labels, voice)
    return cepstra(synthesise(utterance, voice), shape.coefficients), utterance.labels
