"""TIMIT (Garofolo et al. 1993): recorded sentences in NIST SPHERE files and their phonemes, for speech.

A sentence is a sound, ``SI1027.WAV``, and a file of lines ``first-sample past-last-sample phoneme``, ``SI1027.PHN``, in
``TRAIN`` or ``TEST`` below folders of dialects and speakers. Names are in upper or lower case, as the disc was copied.
The two ``SA`` sentences, which all speakers say, are left out, as is usual (Lee and Hon 1989).

The sounds are read by libsndfile. As the disc has them they are plain samples; some copies are packed by *shorten*,
which libsndfile does not read.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fathom_onnx.data.contract import Batch, BatchRequest, endless_shuffle, generator
from fathom_onnx.data.speech.cepstra import HOP, RATE, WINDOW, cepstra
from fathom_onnx.data.speech.padding import UtteranceShape, padded, utterance_shape
from fathom_onnx.data.speech.phonemes import INDEX
from fathom_onnx.errors import DataError, MissingDependencyError, one_line
from fathom_onnx.workloads.contract import Array

from .files import folder_entries, require_file, require_folder, what_is
from .lines import lines_of

__all__ = ["Sentence", "open_timit", "read_phonemes", "read_sound"]

_PARTS = {"training": ("train",), "held-out": ("test",), "all": ("train", "test")}
_EXPECTED = "TIMIT's folder, with TRAIN and TEST in it"
_HEADER = 1024
_CALIBRATION = "sa"


@dataclass(frozen=True)
class Sentence:
    """A recorded sentence.

    Attributes:
        sound: Its file of samples.
        labels: Its phonemes, by index.
        samples: Samples up to the end of its last phoneme.
    """

    sound: Path
    labels: tuple[int, ...]
    samples: int

    @property
    def frames(self) -> int:
        """Whole frames up to the end of its last phoneme."""
        return max(0, 1 + (self.samples - WINDOW) // HOP)

    @property
    def fewest_frames(self) -> int:
        """Frames that its labels need: one each, and a blank between equal ones."""
        return len(self.labels) + sum(a == b for a, b in itertools.pairwise(self.labels))


def read_phonemes(path: Path) -> tuple[tuple[int, ...], int]:
    """The phonemes of a ``.PHN`` file by index, and the sample after the last.

    Raises:
        DataError: It cannot be read, or a line is not what it should be.
    """
    expected = "lines 'first-sample past-last-sample phoneme', as in a .PHN file of TIMIT"
    labels: list[int] = []
    end = 0
    for number, line in lines_of(path, expected):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts[:2]):
            raise DataError(f"'{path}', line {number} is '{one_line(line, 60)}'", f"expected {expected}")
        first, past, symbol = int(parts[0]), int(parts[1]), parts[2]
        if first < end or past <= first:
            raise DataError(
                f"'{path}', line {number} goes from sample {first} to {past}, after one that ends at {end}",
                "expected phonemes one after the other",
            )
        if symbol not in INDEX:
            raise DataError(
                f"'{path}', line {number} has the phoneme '{one_line(symbol, 20)}'",
                "expected one of TIMIT's 61 symbols",
            )
        labels.append(INDEX[symbol])
        end = past
    if not labels:
        raise DataError(f"'{path}' is empty", f"expected {expected}")
    return tuple(labels), end


def read_sound(path: Path) -> Array:
    """The samples of a sound of one channel at 16 kHz, float64 from -1 to 1.

    Raises:
        DataError: It is no such sound, is packed by shorten, or is cut short.
        MissingDependencyError: The package that reads sounds is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingDependencyError(
            "sounds are read by soundfile, which is not installed", "pip install 'fathom-onnx[audio]'"
        ) from error
    expected = f"a sound of one channel at {RATE} samples a second, in a NIST SPHERE or RIFF file"
    require_file(path, expected)
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if header.startswith(b"NIST_1A") and b"shorten" in header:
        raise DataError(
            f"'{path}' is packed by shorten (sample_coding in its header)", "unpack it with NIST's w_decode -o pcm"
        )
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise DataError(f"'{path}' cannot be read: {one_line(error, 120)}", f"expected {expected}") from error
    if rate != RATE or samples.shape[1] != 1:
        raise DataError(f"'{path}' has {samples.shape[1]} channels at {rate} samples a second", f"expected {expected}")
    sound: Array = samples[:, 0]
    return sound


def _child(folder: Path, name: str) -> Path | None:
    """What a folder has under a name, in upper or lower case."""
    return next((p for p in (folder / name.upper(), folder / name.lower()) if what_is(p) != "nothing"), None)


def _phoneme_files(folder: Path) -> Iterator[Path]:
    for path in folder_entries(folder):
        if what_is(path) == "folder":
            yield from _phoneme_files(path)
        elif path.suffix.lower() == ".phn" and not path.stem.lower().startswith(_CALIBRATION):
            yield path


def _sentences(root: Path, part: str) -> list[Sentence]:
    folder = _child(root, part)
    if folder is None:
        raise DataError(f"folder '{root}' has no '{part.upper()}'", f"expected {_EXPECTED}")
    found = []
    for path in _phoneme_files(folder):
        # some copies have them as RIFF under the last of these names
        named = (path.with_suffix(suffix) for suffix in (".WAV", ".wav", ".WAV.wav"))
        sound = next((p for p in named if what_is(p) == "file"), None)
        if sound is None:
            raise DataError(f"'{path}' has no sound", f"expected '{path.stem}.WAV' beside it")
        found.append(Sentence(sound, *read_phonemes(path)))
    if not found:
        raise DataError(f"folder '{folder}' has no .PHN file", f"expected {_EXPECTED}")
    return found


def open_timit(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of sentences, every one once, in a random order, before any is repeated.

    Training data are those in ``TRAIN``, held-out data those in ``TEST``. Sentences with more frames or labels than the
    graph has room for are left out, and counted in a remark.

    Args:
        request: The request.
        path: TIMIT's folder.

    Raises:
        DataError: A file is not what it should be, or none fits the graph.
    """
    shape = utterance_shape(request, f"timit:{path}")
    root = require_folder(Path(path), _EXPECTED)
    sentences = [sentence for part in _PARTS[request.split] for sentence in _sentences(root, part)]
    fitting = [s for s in sentences if s.fewest_frames <= s.frames <= shape.frames and len(s.labels) <= shape.labels]
    if not fitting:
        longest = max(s.frames for s in sentences)
        most = max(len(s.labels) for s in sentences)
        raise DataError(
            f"none of the {len(sentences)} sentences of '{path}' fits {shape.frames} frames and {shape.labels} labels",
            f"give the graph up to {longest} frames and {most} labels (--set frames=N --set labels=M)",
        )
    if len(fitting) < len(sentences):
        request.remark(
            f"{len(sentences) - len(fitting)} of {len(sentences)} sentences of '{path}' ({request.split}) are left "
            f"out: the graph has {shape.frames} frames and {shape.labels} labels"
        )
    return _batches(request, shape, fitting)


def _batches(request: BatchRequest, shape: UtteranceShape, sentences: list[Sentence]) -> Iterator[Batch]:
    features = functools.lru_cache(maxsize=None)(lambda index: _features(sentences[index], shape.coefficients))
    indices = endless_shuffle(len(sentences), generator(request.seed, "timit"))
    while True:
        chosen = [next(indices) for _ in range(shape.batch)]
        yield padded(request, shape, [(features(index), sentences[index].labels) for index in chosen])


def _features(sentence: Sentence, coefficients: int) -> Array:
    """Cepstral coefficients, float32 [frames, coefficients]."""
    sound = read_sound(sentence.sound)
    if len(sound) < sentence.samples:
        raise DataError(
            f"'{sentence.sound}' ends at sample {len(sound)}, and its last phoneme at {sentence.samples}",
            "get the file again",
        )
    found: Array = cepstra(sound[: sentence.samples], coefficients).astype("float32")
    return found
