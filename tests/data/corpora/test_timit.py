"""``timit``: sounds in NIST SPHERE files with their phonemes, and what is wrong with others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data.corpora.timit import read_phonemes, read_sound
from fathom_onnx.data.speech.cepstra import cepstra
from fathom_onnx.data.speech.phonemes import INDEX, SILENCE
from fathom_onnx.errors import DataError, MissingDependencyError

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (pip install soundfile)")

SPECS = (
    ("features", (1, 30, 5)),
    ("feature_lengths", (1,), "int32"),
    ("labels", (1, 6), "int32"),
    ("label_lengths", (1,), "int32"),
)
PHONEMES = "0 1200 h#\n1200 2000 sh\n2000 3000 iy\n3000 4000 h#\n"


def samples(count: int, pitch: float) -> np.ndarray:
    return (np.sin(np.arange(count) / pitch) * 3000).astype("int16")


def sentence(
    folder: Path, name: str, pitch: float, phonemes: str = PHONEMES, count: int = 4400, upper: bool = True
) -> Path:
    """A sound as the disc has it: a header of 1,024 bytes, plain samples."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = folder / (f"{name}.WAV" if upper else f"{name.lower()}.wav")
    soundfile.write(sound, samples(count, pitch), 16_000, format="NIST", subtype="PCM_16")
    sound.with_suffix(".PHN" if upper else ".phn").write_text(phonemes)
    return sound


@pytest.fixture
def timit(tmp_path: Path) -> Path:
    sentence(tmp_path / "TRAIN" / "DR1" / "FCJF0", "SI1027", 9.0)
    sentence(tmp_path / "TRAIN" / "DR1" / "FCJF0", "SA1", 11.0)
    sentence(tmp_path / "TEST" / "DR2" / "MABW0", "SX134", 13.0, "0 2000 pau\n2000 4400 aa\n")
    return tmp_path


def test_a_sentence_has_the_cepstra_of_its_sound_and_its_phonemes(timit: Path, read) -> None:
    batch = read(f"timit:{timit}", *SPECS, split="training", count=2)
    frames = 1 + (4000 - 400) // 160
    expected = cepstra(samples(4400, 9.0)[:4000] / 32768, 5)
    assert batch["feature_lengths"].tolist() == [frames, frames]  # the other one is an SA sentence
    np.testing.assert_allclose(batch["features"][0, :frames], expected, atol=1e-5)
    assert not batch["features"][0, frames:].any()
    assert batch["label_lengths"].tolist() == [4, 4]
    assert batch["labels"][0].tolist() == [SILENCE, INDEX["sh"], INDEX["iy"], SILENCE, SILENCE, SILENCE]


def test_the_parts_are_train_and_test_in_either_case(tmp_path: Path, read) -> None:
    sentence(tmp_path / "train" / "dr1" / "f", "SI1", 9.0, upper=False)
    sentence(tmp_path / "test" / "dr1" / "m", "SI2", 13.0, "0 2000 pau\n2000 4400 aa\n", upper=False)
    held_out = read(f"timit:{tmp_path}", *SPECS, split="held-out")
    assert held_out["labels"][0, :2].tolist() == [INDEX["pau"], INDEX["aa"]]
    both = read(f"timit:{tmp_path}", *SPECS, count=4)
    assert sorted(both["label_lengths"].tolist()) == [2, 2, 4, 4]


def test_a_copy_with_riff_beside_it_is_read(tmp_path: Path, read) -> None:
    packed = sentence(tmp_path / "TRAIN" / "A", "SI1", 9.0)
    packed.unlink()
    soundfile.write(packed.with_suffix(".WAV.wav"), samples(4400, 9.0), 16_000)
    assert read(f"timit:{tmp_path}", *SPECS, split="training")["feature_lengths"][0] == 23


def test_sentences_that_are_too_long_are_counted(timit: Path, read) -> None:
    sentence(timit / "TRAIN" / "DR1" / "MX", "SI9", 9.0, "0 5000 h#\n5000 9000 aa\n", 9000)
    remarks: list[str] = []
    batch = read(f"timit:{timit}", *SPECS, split="training", count=2, remarks=remarks)
    assert batch["label_lengths"].tolist() == [4, 4]
    assert remarks == [f"1 of 2 sentences of '{timit}' (training) are left out: the graph has 30 frames and 6 labels"]
    with pytest.raises(
        DataError, match=r"none of the 2 sentences .* fits 20 frames and 6 labels; give .* 54 frames and 4 "
    ):
        read(f"timit:{timit}", ("features", (1, 20, 5)), *SPECS[1:], split="training")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("0 100 sh\n100 90 iy\n", "line 2 goes from sample 100 to 90, after one that ends at 100"),
        ("0 100 sh\n50 150 iy\n", "line 2 goes from sample 50 to 150, after one that ends at 100"),
        ("0 100 xx\n", "line 1 has the phoneme 'xx'; expected one of TIMIT's 61"),
        ("0 100\n", "line 1 is '0 100'"),
        ("a b sh\n", "line 1 is 'a b sh'"),
    ],
)
def test_phonemes_that_are_none_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.PHN"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_phonemes(path)


def test_sounds_that_are_none_are_named(tmp_path: Path, timit: Path, read, monkeypatch) -> None:
    sound = sentence(tmp_path / "x", "SI1", 9.0)
    whole = sound.read_bytes()
    packed = whole.replace(b"sample_coding -s3 pcm", b"sample_coding -s26 pcm,embedded-shorten-v2.00")
    for content, said in (
        (packed, "packed by shorten .* unpack it with NIST's w_decode"),
        (whole[:700], "cannot be read: .* bad header"),
        (b"", "cannot be read"),
        (b"RIFF" + bytes(100), "cannot be read"),
    ):
        sound.write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_sound(sound)
    soundfile.write(sound, samples(800, 9.0), 8_000, format="NIST", subtype="PCM_16")
    with pytest.raises(DataError, match="has 1 channels at 8000 samples a second"):
        read_sound(sound)
    short = timit / "TRAIN" / "DR1" / "FCJF0" / "SI1027.WAV"
    short.write_bytes(short.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"SI1027.WAV' ends at sample 1988, and its last phoneme at 4000"):
        read(f"timit:{timit}", *SPECS, split="training")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingDependencyError, match=r"not installed; pip install 'fathom-onnx\[audio\]'"):
        read_sound(sound)


def test_folders_that_are_none_are_named(tmp_path: Path, timit: Path, read) -> None:
    with pytest.raises(DataError, match=r"has no 'TRAIN'; expected TIMIT's folder"):
        read(f"timit:{timit / 'TRAIN'}", *SPECS, split="training")
    (timit / "TRAIN" / "DR1" / "FCJF0" / "SI1027.WAV").unlink()
    with pytest.raises(DataError, match=r"SI1027.PHN' has no sound; expected 'SI1027.WAV' beside it"):
        read(f"timit:{timit}", *SPECS, split="training")
    (tmp_path / "empty" / "TEST").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no .PHN file"):
        read(f"timit:{tmp_path / 'empty'}", *SPECS, split="held-out")
