"""TIMIT's 61 phonemes for a formant synthesiser: a table of resonances, sound source, loudness and duration.

Vowel formants are those of men in Peterson and Barney 1952 (table II); the formants of the other sounds and all
durations roughly follow Klatt 1980 (tables II and III) and Lamel et al. 1986. Phonemes of a kind sound alike and kinds
sound different, as a speech recogniser needs; no more accuracy is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INDEX", "PHONEMES", "SILENCE", "Phoneme"]

Formants = tuple[float, float, float]


@dataclass(frozen=True)
class Phoneme:
    """The sound of one phoneme.

    Attributes:
        symbol: TIMIT's symbol.
        kind: ``vowel``, ``semivowel``, ``nasal``, ``fricative``, ``stop``, ``closure`` or ``silence``.
        formants: Centre frequencies of three resonances in Hz at its start.
        glide: The same at its end, equal to ``formants`` for a steady sound.
        voice: Share of the voice in the sound source, 0 to 1; the rest is noise.
        level: Loudness relative to a vowel.
        milliseconds: Usual duration.
    """

    symbol: str
    kind: str
    formants: Formants
    glide: Formants
    voice: float
    level: float
    milliseconds: float


_IY, _IH, _UW, _ER = (270, 2290, 3010), (390, 1990, 2550), (300, 870, 2240), (490, 1350, 1690)
_EH, _AE, _AA, _AO = (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440), (570, 840, 2410)
_UH, _AH = (440, 1020, 2240), (640, 1190, 2390)
_SCHWA = (500, 1500, 2500)
_LIPS, _TONGUE, _VELUM = (200, 900, 2200), (200, 1700, 2700), (200, 2000, 2300)
"""Formants of closures at the lips, at the alveolar ridge and at the soft palate."""

_ROWS: tuple[tuple[str, str, Formants, Formants | None, float, float, float], ...] = (
    ("iy", "vowel", _IY, None, 1.0, 1.0, 95),
    ("ih", "vowel", _IH, None, 1.0, 1.0, 75),
    ("eh", "vowel", _EH, None, 1.0, 1.0, 90),
    ("ey", "vowel", (480, 1950, 2550), _IY, 1.0, 1.0, 125),
    ("ae", "vowel", _AE, None, 1.0, 1.0, 135),
    ("aa", "vowel", _AA, None, 1.0, 1.0, 125),
    ("aw", "vowel", _AA, _UW, 1.0, 1.0, 160),
    ("ay", "vowel", _AA, _IY, 1.0, 1.0, 155),
    ("ah", "vowel", _AH, None, 1.0, 1.0, 90),
    ("ao", "vowel", _AO, None, 1.0, 1.0, 125),
    ("oy", "vowel", _AO, _IY, 1.0, 1.0, 165),
    ("ow", "vowel", (540, 1100, 2300), _UW, 1.0, 1.0, 130),
    ("uh", "vowel", _UH, None, 1.0, 1.0, 75),
    ("uw", "vowel", _UW, None, 1.0, 1.0, 105),
    ("ux", "vowel", (310, 1600, 2300), None, 1.0, 1.0, 100),
    ("er", "vowel", _ER, None, 1.0, 1.0, 120),
    ("ax", "vowel", _SCHWA, None, 1.0, 0.7, 50),
    ("ix", "vowel", (420, 1800, 2500), None, 1.0, 0.7, 50),
    ("axr", "vowel", (500, 1400, 1800), None, 1.0, 0.7, 80),
    ("ax-h", "vowel", _SCHWA, None, 0.3, 0.4, 40),
    ("l", "semivowel", (360, 1300, 2700), None, 1.0, 0.6, 60),
    ("r", "semivowel", (310, 1060, 1380), None, 1.0, 0.6, 60),
    ("w", "semivowel", (290, 610, 2150), None, 1.0, 0.6, 60),
    ("y", "semivowel", (260, 2070, 3020), None, 1.0, 0.6, 55),
    ("hh", "semivowel", (500, 1500, 2500), None, 0.0, 0.2, 65),
    ("hv", "semivowel", (500, 1500, 2500), None, 0.6, 0.4, 65),
    ("el", "semivowel", (450, 1000, 2700), None, 1.0, 0.7, 90),
    ("m", "nasal", (280, 1000, 2200), None, 1.0, 0.4, 65),
    ("n", "nasal", (280, 1700, 2600), None, 1.0, 0.4, 60),
    ("ng", "nasal", (280, 2300, 2700), None, 1.0, 0.4, 65),
    ("em", "nasal", (350, 1000, 2200), None, 1.0, 0.5, 90),
    ("en", "nasal", (350, 1700, 2600), None, 1.0, 0.5, 85),
    ("eng", "nasal", (350, 2300, 2700), None, 1.0, 0.5, 85),
    ("nx", "nasal", (320, 1700, 2600), None, 1.0, 0.5, 30),
    ("s", "fricative", (4200, 5600, 7000), None, 0.0, 0.35, 110),
    ("sh", "fricative", (2300, 3100, 4800), None, 0.0, 0.4, 115),
    ("z", "fricative", (4200, 5600, 7000), None, 0.4, 0.35, 85),
    ("zh", "fricative", (2300, 3100, 4800), None, 0.4, 0.4, 80),
    ("f", "fricative", (1300, 3600, 6800), None, 0.0, 0.12, 100),
    ("th", "fricative", (1600, 5000, 7200), None, 0.0, 0.12, 90),
    ("v", "fricative", (1300, 3600, 6800), None, 0.6, 0.25, 60),
    ("dh", "fricative", (1600, 5000, 7200), None, 0.6, 0.25, 40),
    ("jh", "fricative", (2100, 2900, 4400), None, 0.3, 0.4, 60),
    ("ch", "fricative", (2100, 2900, 4400), None, 0.0, 0.4, 85),
    ("b", "stop", _LIPS, (400, 1100, 2300), 0.6, 0.4, 30),
    ("d", "stop", (300, 1800, 3500), (400, 1700, 2600), 0.6, 0.4, 30),
    ("g", "stop", (300, 2000, 2300), (400, 1900, 2400), 0.6, 0.4, 30),
    ("p", "stop", (500, 1100, 2300), None, 0.0, 0.25, 45),
    ("t", "stop", (1800, 3900, 5500), None, 0.0, 0.3, 50),
    ("k", "stop", (1500, 2100, 4000), None, 0.0, 0.3, 55),
    ("dx", "stop", (350, 1700, 2600), None, 1.0, 0.5, 30),
    ("q", "stop", _SCHWA, None, 0.5, 0.2, 60),
    ("bcl", "closure", _LIPS, None, 1.0, 0.06, 60),
    ("dcl", "closure", _TONGUE, None, 1.0, 0.06, 50),
    ("gcl", "closure", _VELUM, None, 1.0, 0.06, 55),
    ("pcl", "closure", _LIPS, None, 0.0, 0.004, 65),
    ("tcl", "closure", _TONGUE, None, 0.0, 0.004, 55),
    ("kcl", "closure", _VELUM, None, 0.0, 0.004, 60),
    ("pau", "silence", _SCHWA, None, 0.0, 0.003, 90),
    ("epi", "silence", _SCHWA, None, 0.0, 0.003, 40),
    ("h#", "silence", _SCHWA, None, 0.0, 0.003, 80),
)

PHONEMES: tuple[Phoneme, ...] = tuple(
    Phoneme(symbol, kind, start, end or start, voice, level, length)
    for symbol, kind, start, end, voice, level, length in _ROWS
)
"""The phonemes; a label is an index into this tuple."""

INDEX: dict[str, int] = {phoneme.symbol: index for index, phoneme in enumerate(PHONEMES)}
"""Symbol to label."""

SILENCE = INDEX["h#"]
"""Label of the silence at the start and the end of an utterance."""
