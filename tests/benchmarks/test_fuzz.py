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


def test_another_exception_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    """A reader that fails is planted: its place is named, and its inputs are told."""
    import json

    from fuzz import __main__ as fuzzer
    from fuzz import readers

    def planted(path: Path) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(fuzzer, "FOLDER", tmp_path)
    monkeypatch.setattr(fuzzer.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(fuzzer, "_choice", lambda kind, chosen: ("graph", SEED))
    monkeypatch.setitem(readers.READERS, "graph", (".onnx", planted))
    monkeypatch.chdir(tmp_path)
    fuzzer.work(0, "bytes", 0.05)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {row["finding"] for row in rows if "finding" in row}
    assert found == {"finding: KeyError in test_fuzz.py:planted"}
    assert rows[-1]["counts"]["finding"] == sum("finding" in row for row in rows)
