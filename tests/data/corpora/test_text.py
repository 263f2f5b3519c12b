"""``text``: bytes or tokens of a text, and what is wrong with others."""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.data.corpora import text as reader
from fathom_onnx.errors import DataError, MissingDependencyError, UsageError
from fathom_onnx.workloads import workload

TOKENS = [("tokens", (1, 5), "int64"), ("labels", (1, 5), "int64")]
needs_tokenizers = pytest.mark.skipif(find_spec("tokenizers") is None, reason="the package tokenizers is not installed")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """103 bytes, 0 to 102."""
    (tmp_path / "text").write_bytes(bytes(range(103)))
    return tmp_path / "text"


@pytest.mark.parametrize(
    ("split", "first", "last", "count"), [("training", 0, 90, 18), ("held-out", 93, 97, 1), ("all", 0, 100, 20)]
)
def test_sequences_follow_one_another_and_labels_are_the_next(
    corpus: Path, read, split: str, first: int, last: int, count: int
) -> None:
    """93 bytes are for training: 18 sequences of 5 with the byte after them. 10 are held out: one sequence."""
    batch = read(f"text:{corpus}", *TOKENS, split=split, count=count)
    starts = sorted(batch["tokens"][:, 0].tolist())
    assert starts == list(range(first, last, 5))
    np.testing.assert_array_equal(batch["tokens"], batch["tokens"][:, :1] + np.arange(5))
    np.testing.assert_array_equal(batch["labels"], batch["tokens"] + 1)
    assert batch["labels"].dtype == np.int64


def test_the_parts_share_no_byte(corpus: Path, read) -> None:
    seen = {
        split: {b for v in read(f"text:{corpus}", *TOKENS, split=split, count=40).values() for b in v.ravel().tolist()}
        for split in ("training", "held-out")
    }
    assert max(seen["training"]) < 93 <= min(seen["held-out"])


def test_tokens_do_not_depend_on_what_else_is_asked_for(corpus: Path, read) -> None:
    alone = read(f"text:{corpus}", ("tokens", (1, 5), "int32"), count=3)["tokens"]
    np.testing.assert_array_equal(alone, read(f"text:{corpus}", *TOKENS, count=3)["tokens"])
    assert alone.dtype == np.int32


@pytest.mark.parametrize("name", ["llama", "mixtral", "mamba"])
def test_language_models_are_fed(corpus: Path, name: str) -> None:
    made = workload(name, "tiny", {"vocabulary": 256})
    for mode in ("training", "inference"):
        batch = next(batches_for(made, mode, 0, f"text:{corpus}", split="training"))
        assert {k: v.shape for k, v in batch.items()} == {s.name: s.shape for s in made.batch_inputs(mode)}


def test_gzip_is_unpacked_and_line_ends_are_bytes_like_others(tmp_path: Path, read) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(b"a\r\nb\n" + b"c" * 6))
    assert read(f"text:{tmp_path}/x", TOKENS[0], count=2)["tokens"].min() == 10
    assert sorted(read(f"text:{tmp_path}/x", TOKENS[0], count=2)["tokens"].tolist()) == [
        [97, 13, 10, 98, 10],
        [99] * 5,
    ]


def test_what_the_graph_has_no_token_for_is_refused(corpus: Path, read) -> None:
    sizes = {"tokens": 64, "labels": 64}
    with pytest.raises(
        DataError, match=r"has byte 64 at place 64, and the graph's vocabulary has 64; .*vocabulary=256"
    ):
        read(f"text:{corpus}", *TOKENS, draws=sizes)
    assert read(f"text:{corpus}", *TOKENS, draws={"tokens": 103})["tokens"].shape == (1, 5)


@pytest.mark.parametrize(
    ("data", "split", "message"),
    [
        (b"", "all", r"has 0 bytes \(all\), and a sequence of the graph needs 6"),
        (b"12345", "all", "has 5 bytes"),
        (b"1" * 59, "held-out", r"has 5 bytes \(held-out\)"),
        (gzip.compress(b"1" * 99)[:-4], "all", "is gzip that is cut short"),
    ],
    ids=["empty", "short", "part", "gzip"],
)
def test_what_is_too_short_is_refused(tmp_path: Path, read, data: bytes, split: str, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        read(f"text:{tmp_path}/x", *TOKENS, split=split)
    assert f"'{tmp_path}/x'" in str(raised.value)


def test_paths_that_are_no_text_are_refused(corpus: Path, read) -> None:
    with pytest.raises(DataError, match=r"no file '.*/none'; expected a file of text"):
        read(f"text:{corpus.parent}/none", *TOKENS)
    with pytest.raises(DataError, match=r"is a folder, not a file"):
        read(f"text:{corpus.parent}", *TOKENS)
    with pytest.raises(DataError, match=r"no file '.*/none.json'; expected a tokenizer"):
        read(f"text:{corpus},{corpus.parent}/none.json", *TOKENS)
    with pytest.raises(UsageError, match=r"give it as text:FILE or text:FILE,TOKENIZER.json"):
        read(f"text:{corpus},", *TOKENS)
    (corpus.parent / "a,b").write_bytes(bytes(20))
    assert read(f"text:{corpus.parent}/a,b", *TOKENS)["tokens"].sum() == 0


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([("tokens", (5,), "int64")], "cannot fill tokens"),
        ([TOKENS[0], ("labels", (1, 4), "int64")], "cannot fill tokens"),
        ([], "cannot fill no input"),
        ([("images", (1, 4))], "has no input 'images'"),
    ],
)
def test_what_cannot_be_filled_is_said(corpus: Path, read, specs: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(f"text:{corpus}", *specs)


# tokenizers


def words(folder: Path, vocabulary: list[str]) -> Path:
    """A tokenizer of whole words: those of a list by their place, 0 for others."""
    path = folder / "tokenizer.json"
    made = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(["?", *vocabulary])},
            "unk_token": "?",
        },
    }
    path.write_text(json.dumps(made))
    return path


@needs_tokenizers
def test_a_tokenizer_that_is_named_makes_the_tokens(tmp_path: Path, read) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfthe cat\nsaw the\r\ndog and")
    named = f"text:{tmp_path}/x,{words(tmp_path, ['the', 'cat', 'saw', 'dog'])}"
    batch = read(named, *TOKENS)
    assert batch["tokens"].tolist() == [[1, 2, 3, 1, 4]]
    assert batch["labels"].tolist() == [[2, 3, 1, 4, 0]]
    with pytest.raises(DataError, match=r"has token 4 at place 4, and the graph's vocabulary has 4; .*vocabulary=5"):
        read(named, *TOKENS, draws={"tokens": 4})


@needs_tokenizers
def test_pieces_of_a_text_make_the_same_tokens(tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"w{n} w{n + 1}\n" for n in range(50)) + "w7 w8"
    assert "".join(reader._pieces(text)) == text
    (tmp_path / "x").write_text(text)
    named = f"text:{tmp_path}/x,{words(tmp_path, [f'w{n}' for n in range(60)])}"
    whole = read(named, *TOKENS, count=20)["tokens"]
    monkeypatch.setattr(reader, "_PIECE", 10)
    assert [piece.count("\n") for piece in reader._pieces(text)][:5] == [2, 2, 2, 2, 2]
    np.testing.assert_array_equal(read(named, *TOKENS, count=20)["tokens"], whole)


@needs_tokenizers
def test_nothing_is_cut_or_added_that_the_tokenizer_has_for_some_model(tmp_path: Path, read) -> None:
    (tmp_path / "x").write_text("the cat saw the cat saw")
    path = words(tmp_path, ["the", "cat", "saw"])
    made = json.loads(path.read_text())
    made["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    pad = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None}
    made["padding"] = {**pad, "pad_id": 0, "pad_type_id": 0, "pad_token": "?"}
    begin = {"SpecialToken": {"id": "?", "type_id": 0}}
    template = {"single": [begin, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [begin]}
    made["post_processor"] = {
        "type": "TemplateProcessing",
        **template,
        "special_tokens": {"?": {"id": "?", "ids": [0], "tokens": ["?"]}},
    }
    path.write_text(json.dumps(made))
    assert read(f"text:{tmp_path}/x,{path}", *TOKENS, count=3)["tokens"].tolist() == [[1, 2, 3, 1, 2]] * 3


@needs_tokenizers
def test_a_word_that_the_tokenizer_cannot_read_is_an_error(tmp_path: Path, read) -> None:
    (tmp_path / "x").write_text("the dog")
    path = words(tmp_path, ["the"])
    path.write_text(path.read_text().replace('"unk_token": "?"', '"unk_token": "no"'))
    with pytest.raises(DataError, match=r"tokenizer.json' cannot read '.*/x': .*; give the tokenizer of such text"):
        read(f"text:{tmp_path}/x,{path}", *TOKENS)


@needs_tokenizers
def test_what_is_no_tokenizer_or_no_text_is_refused(tmp_path: Path, read) -> None:
    (tmp_path / "x").write_bytes(b"the c\xe4t")
    (tmp_path / "broken.json").write_text('{"model": ')
    with pytest.raises(DataError, match=r"broken.json' is no tokenizer: .*; expected a tokenizer of the package"):
        read(f"text:{tmp_path}/x,{tmp_path}/broken.json", *TOKENS)
    with pytest.raises(DataError, match=r"x' is not UTF-8 at byte 5 \(0xe4\)"):
        read(f"text:{tmp_path}/x,{words(tmp_path, ['the'])}", *TOKENS)


def test_the_package_is_asked_for_where_it_is_missing(corpus: Path, read, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = words(corpus.parent, ["the"])
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs the package tokenizers; pip install tokenizers, or leave"):
        read(f"text:{corpus},{tokenizer}", *TOKENS)
    assert read(f"text:{corpus}", *TOKENS)["tokens"].shape == (1, 5)
