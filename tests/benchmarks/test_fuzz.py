"""The fuzzer: what it makes of a file, and that it finds what it looks for."""

from __future__ import annotations

import contextlib
import random
import sys
from pathlib import Path

import onnx
import pytest

from fathom_onnx.errors import FathomError
from support.graphs.small_models import cnn
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from fuzz import inputs
from fuzz.bytes import damaged
from fuzz.readers import READERS
from fuzz.twists import twisted

SEED = cnn().model.SerializeToString()


def test_twists_are_models_and_other_ones() -> None:
    made = {twisted(SEED, SEED, random.Random(number)) for number in range(200)}
    assert len(made) > 150
    for data in made:
        onnx.load_model_from_string(data)


def test_damage_is_other_bytes_of_a_bounded_length() -> None:
    made = {damaged(SEED, b"other", random.Random(number)) for number in range(200)}
    assert len(made) > 150
    assert max(map(len, made)) <= 200_000


@pytest.mark.parametrize("number", range(40))
def test_a_damaged_graph_is_read_or_refused(tmp_path: Path, number: int) -> None:
    chosen, make = random.Random(number), (twisted, damaged)[number % 2]
    path = tmp_path / "g.onnx"
    path.write_bytes(make(SEED, SEED, chosen))
    with contextlib.suppress(FathomError):
        READERS["graph"][1](path)


CORPUS = sorted((ROOT / "tests" / "samples" / "fuzz").iterdir())
OF_SUFFIX = {suffix: reader for suffix, reader in READERS.values() if suffix in (".onnx", ".json")}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_was_found_is_read_or_refused(path: Path) -> None:
    """Inputs that once ended in another exception."""
    with contextlib.suppress(FathomError):
        OF_SUFFIX[path.suffix](path)


def test_another_exception_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A reader that fails is planted: its place is named."""

    def planted(path: Path) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(inputs, "made", lambda kind, number: ("graph", SEED))
    assert inputs.judge("bytes", 7, tmp_path).outcomes == ("read", "graph")
    monkeypatch.setitem(READERS, "graph", (".onnx", planted))
    found = inputs.judge("bytes", 7, tmp_path)
    assert found.outcomes == ("failed", "graph")
    assert found.finding == "KeyError in test_fuzz.py:planted: 'planted'"


def test_an_input_is_known_by_its_number() -> None:
    assert inputs.made("bytes", 3) == inputs.made("bytes", 3) != inputs.made("bytes", 4)
