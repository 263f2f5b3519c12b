"""Mel-frequency cepstral coefficients (Davis and Mermelstein 1980) of a sound."""

from __future__ import annotations

import functools

import numpy as np

from fathom_onnx.workloads.contract import Array

__all__ = ["HOP", "RATE", "WINDOW", "cepstra", "mel_filters", "samples_for"]

RATE = 16_000
"""Samples a second."""
WINDOW, HOP = RATE * 25 // 1000, RATE * 10 // 1000
"""Samples in a frame (25 ms), and from the start of one frame to the next (10 ms)."""

_POINTS = 512
_FILTERS = 40
_EMPHASIS = 0.97
_FLOOR = 1e-10


def samples_for(frames: int) -> int:
    """The number of samples that gives exactly this many frames."""
    return WINDOW + (frames - 1) * HOP


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


@functools.lru_cache(maxsize=1)
def mel_filters() -> Array:
    """Triangular filters of equal width on the mel scale from 0 to half the rate, float64 [filters, points / 2 + 1]."""
    mels = np.linspace(0.0, _mel(RATE / 2), _FILTERS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    hertz = np.fft.rfftfreq(_POINTS, 1.0 / RATE)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    filters: Array = np.maximum(np.minimum(rising, falling), 0.0)
    return filters


def cepstra(sound: Array, coefficients: int) -> Array:
    """The first cepstral coefficients of every frame, float64 [frames, coefficients].

    Pre-emphasis, Hamming window, power spectrum, mel filters, logarithm, cosine transform. Each coefficient has mean 0
    and standard deviation 1 over the sound.

    Args:
        sound: Samples at :data:`RATE`.
        coefficients: Number of coefficients, at most 40.
    """
    from scipy.fft import dct

    emphasised = np.append(sound[:1], sound[1:] - _EMPHASIS * sound[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP] * np.hamming(WINDOW)
    spectrum = np.fft.rfft(frames, _POINTS)
    power = (spectrum.real**2 + spectrum.imag**2) / _POINTS
    logarithms = np.log(np.maximum(power @ mel_filters().T, _FLOOR))
    cepstrum = dct(logarithms, type=2, axis=1, norm="ortho")[:, :coefficients]
    centred = cepstrum - cepstrum.mean(0)
    scaled: Array = centred / np.maximum(centred.std(0), 1e-6)
    return scaled
