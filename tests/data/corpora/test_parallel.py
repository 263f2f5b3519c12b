"""``parallel``: two files of sentences, their line ends, their vocabularies, and what is wrong with others."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.data.corpora.division import is_held_out
from fathom_onnx.data.corpora.lines import lines_of
from fathom_onnx.data.corpora.parallel import by_frequency, pairs_of
from fathom_onnx.errors import DataError, UsageError
from fathom_onnx.workloads import workload

PAD, GO, EOS, UNKNOWN = range(4)


def specs(batch: int = 1, source: int = 4, target: int = 5) -> list[tuple]:
    return [
        ("source_ids", (batch, source), "int64"),
        ("target_ids", (batch, target), "int64"),
        ("target_weights", (batch, target)),
        ("sampled_ids", (6,), "int64"),
    ]


def sizes(vocabulary: int = 20) -> dict[str, int]:
    return dict.fromkeys(("source_ids", "target_ids", "sampled_ids"), vocabulary)


def write(folder: Path, source: str | bytes, target: str | bytes) -> str:
    for name, text in (("a.txt", source), ("b.txt", target)):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return f"parallel:{folder}/a.txt,{folder}/b.txt"


# lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"a\rb\r", ["a", "b"]),
        (b"a\r", ["a"]),
        (b"a\rb\nc\n", ["a\rb", "c"]),  # a stray CR ends no line where LF does
        ("a\u2028b\x0bc\x0cd\x85e\u0085\n".encode(), ["a\u2028b\x0bc\x0cd\x85e\x85"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (gzip.compress(b"a\nb\n"), ["a", "b"]),
    ],
)
def test_a_line_ends_with_lf_or_cr_lf_or_cr_alone(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    (tmp_path / "x").write_bytes(data)
    assert list(lines_of(tmp_path / "x", "text")) == list(enumerate(lines, 1))


def test_lines_go_on_from_block_to_block(tmp_path: Path) -> None:
    """More bytes than are read at once, with an end of two bytes across the bound."""
    long = "x" * ((1 << 20) - 1)
    (tmp_path / "x").write_bytes(f"{long}\r\n{long}\r\nend".encode())
    assert [len(text) for _, text in lines_of(tmp_path / "x", "text")] == [len(long), len(long), 3]


def test_pairs_stay_aligned_over_what_other_programs_take_for_line_ends(tmp_path: Path) -> None:
    write(tmp_path, "one\u2028half\ntwo\r\nthree\n", "eins\nzwei\x85\rdrei\nvier")
    assert list(pairs_of(tmp_path / "a.txt", tmp_path / "b.txt")) == [
        (["one", "half"], ["eins"]),
        (["two"], ["zwei", "drei"]),
        (["three"], ["vier"]),
    ]


# vocabulary and layout


def test_words_are_numbered_by_frequency_and_then_by_their_characters() -> None:
    counts = Counter({"b": 2, "c": 5, "a": 2, "d": 1})
    assert by_frequency(counts, 8) == {"c": 4, "a": 5, "b": 6, "d": 7}
    assert by_frequency(counts, 6) == {"c": 4, "a": 5}
    assert by_frequency(counts, 100) == by_frequency(counts, 8)


def in_training(count: int, words: int = 1) -> list[str]:
    """Source sentences of the training part, ``x0 ...``."""
    made = (" ".join([f"x{n}"] * words) for n in range(1000))
    return [text for text in made if not is_held_out(text.encode())][:count]


def test_a_batch_is_words_the_end_symbol_and_padding(tmp_path: Path, read) -> None:
    first, second = in_training(2)
    named = write(tmp_path, f"{first}\n{second}\n{first}\n", "u v\nu w w\nu v\n")
    batch = read(named, *specs(), split="training", count=3, draws=sizes())
    rows = sorted(
        zip(batch["source_ids"].tolist(), batch["target_ids"].tolist(), batch["target_weights"].tolist(), strict=True)
    )
    # u occurs three times; v and w twice
    assert rows == [
        ([4, PAD, PAD, PAD], [4, 5, EOS, PAD, PAD], [1, 1, 1, 0, 0]),
        ([4, PAD, PAD, PAD], [4, 5, EOS, PAD, PAD], [1, 1, 1, 0, 0]),
        ([5, PAD, PAD, PAD], [4, 6, 6, EOS, PAD], [1, 1, 1, 1, 0]),
    ]
    assert batch["sampled_ids"].shape == (18,)
    assert (batch["sampled_ids"] < 20).all()


def test_rare_words_are_unknown(tmp_path: Path, read) -> None:
    first, second, third = in_training(3)
    named = write(tmp_path, f"{first}\n{first} {second}\n{third}", "u\nu v\nu")
    kept = [text for text in (first, f"{first} {second}", third) if not is_held_out(text.encode())]
    if f"{first} {second}" not in kept:
        pytest.fail("choose other sentences")
    batch = read(named, *specs(), split="training", count=3, draws=sizes(5))
    found = sorted(batch["source_ids"].tolist())
    assert found == [[UNKNOWN, PAD, PAD, PAD], [4, PAD, PAD, PAD], [4, UNKNOWN, PAD, PAD]]
    assert sorted(batch["target_ids"].tolist())[-1] == [4, UNKNOWN, EOS, PAD, PAD]


def test_what_does_not_fit_is_left_out_and_counted(tmp_path: Path, read) -> None:
    texts = in_training(6)
    four = in_training(1, 4)[0]
    five = in_training(1, 5)[0]
    source = [texts[0], texts[1], "", texts[2], four, five, texts[3], "   "]
    target = ["u", "", "u", "u u u u u", "u u u u", "u", "u v", "u"]
    named = write(tmp_path, "\n".join(source), "\n".join(target))
    remarks: list[str] = []
    batch = read(named, *specs(3), draws=sizes(), remarks=remarks)
    assert sorted((batch["target_weights"] > 0).sum(1)) == [2, 3, 5]
    assert (batch["source_ids"] > 0).sum(1).max() == 4
    assert remarks == [
        f"5 of 8 pairs of '{tmp_path}/a.txt' and '{tmp_path}/b.txt' (all) are left out: 3 with an empty side, "
        "2 longer than 4 source words or 4 target words"
    ]


def test_the_parts_share_no_sentence(tmp_path: Path, read) -> None:
    source = [f"s{n % 300}" for n in range(600)]  # every sentence twice
    named = write(tmp_path, "\n".join(source), "\n".join(f"t{n}" for n in range(600)))
    seen = {}
    for split in ("training", "held-out", "all"):
        batch = read(named, *specs(), split=split, count=600, draws=sizes(1000))
        seen[split] = set(batch["target_ids"][:, 0].tolist())
    words = sorted({f"t{n}" for n in range(600) if not is_held_out(source[n].encode())})
    assert seen["training"] == {4 + words.index(word) for word in words}  # all are as frequent as each other
    assert seen["held-out"] == {UNKNOWN}  # words of the held-out part alone are not in the vocabulary
    assert seen["all"] == seen["training"] | {UNKNOWN}
    batch = read(named, *specs(), split="held-out", count=20, draws=sizes(1000))
    assert (batch["source_ids"][:, 0] == UNKNOWN).all()


def test_seq2seq_is_fed(tmp_path: Path) -> None:
    named = write(tmp_path, "\n".join(f"a{n % 7} b" for n in range(50)), "\n".join(f"c d{n % 5}" for n in range(50)))
    for mode, names in (("training", 4), ("inference", 1)):
        made = workload("seq2seq", "tiny")
        batch = next(batches_for(made, mode, 0, named, split="training"))
        assert {n: v.shape for n, v in batch.items()} == {s.name: s.shape for s in made.batch_inputs(mode)}
        assert len(batch) == names


def test_files_with_commas_in_their_names_are_found(tmp_path: Path, read) -> None:
    for name in ("a,b.txt", "c,d.txt"):
        (tmp_path / name).write_text("\n".join(in_training(3)))
    named = f"parallel:{tmp_path}/a,b.txt,{tmp_path}/c,d.txt"
    assert read(named, *specs(), split="training", draws=sizes())["source_ids"].shape == (1, 4)


# what is refused


def test_unequal_counts_are_named(tmp_path: Path, read) -> None:
    for source, target, counts in (("a\nb\nc", "a\nb", (3, 2)), ("", "a\n", (0, 1)), ("a\n", "a\n\n\n", (1, 3))):
        named = write(tmp_path, source, target)
        with pytest.raises(
            DataError, match=rf"a.txt' has {counts[0]} lines and '.*/b.txt' {counts[1]}; expected as many"
        ):
            read(named, *specs(), draws=sizes())


def test_what_is_no_text_is_named(tmp_path: Path, read) -> None:
    named = write(tmp_path, "a\nb\n", b"a\n\xe4\n")
    with pytest.raises(DataError, match=r"b.txt' is not UTF-8 in line 2, at its byte 0 \(0xe4\)"):
        read(named, *specs(), draws=sizes())
    named = write(tmp_path, "a\n".encode("utf-16"), "a\n")
    with pytest.raises(DataError, match=r"a.txt' is UTF-16 text"):
        read(named, *specs(), draws=sizes())
    named = write(tmp_path, "a\n" * 50, gzip.compress(b"a\n" * 50)[:-8])
    with pytest.raises(DataError, match=r"b.txt' is gzip that is cut short"):
        read(named, *specs(), draws=sizes())
    named = write(tmp_path, gzip.compress(b"a\n" * 50)[:-8], "a\n" * 50)
    with pytest.raises(DataError, match=r"a.txt' is gzip that is cut short"):
        read(named, *specs(), draws=sizes())


def test_no_pair_left_is_an_error(tmp_path: Path, read) -> None:
    text = in_training(1)[0]
    named = write(tmp_path, f"{text}\n", "u\n")
    with pytest.raises(DataError, match=r"no pair of .* \(held-out\) is left of 0: .*one pair in 10 is held out"):
        read(named, *specs(), split="held-out", draws=sizes())
    named = write(tmp_path, "a b c d e\n", "u\n")
    with pytest.raises(DataError, match=r"no pair of .* \(all\) is left of 1: 0 with an empty side, 1 longer than 4"):
        read(named, *specs(), draws=sizes())
    with pytest.raises(DataError, match="is left of 0"):
        read(write(tmp_path, "", ""), *specs(), draws=sizes())


@pytest.mark.parametrize("path", ["a.txt", "a.txt,", ",b.txt", "a,b,c"])
def test_a_path_of_other_than_two_files_is_refused(read, path: str) -> None:
    with pytest.raises(UsageError, match=r"does not name two files; give both, as parallel:SOURCE,TARGET"):
        read(f"parallel:{path}", *specs(), draws=sizes())


def test_missing_files_are_named(tmp_path: Path, read) -> None:
    write(tmp_path, "a", "a")
    with pytest.raises(DataError, match=r"no file '.*/c.txt'; expected a file of sentences"):
        read(f"parallel:{tmp_path}/a.txt,{tmp_path}/c.txt", *specs(), draws=sizes())
    with pytest.raises(DataError, match=r"' is a folder, not a file"):
        read(f"parallel:{tmp_path},{tmp_path}/b.txt", *specs(), draws=sizes())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([("source_ids", (1, 2, 3), "int64")], "cannot fill source_ids"),
        ([("source_ids", (2, 3), "int64"), ("target_ids", (1, 3), "int64")], "cannot fill source_ids"),
        ([("target_weights", (1, 4)), ("target_ids", (1, 3), "int64")], "cannot fill target_weights"),
        ([("sampled_ids", (3,), "int64")], "cannot fill no sentences"),
        ([("images", (1, 4))], "has no input 'images'"),
    ],
)
def test_what_cannot_be_filled_is_said(tmp_path: Path, read, wanted: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, "a", "a"), *wanted, draws=sizes())


def test_a_vocabulary_must_be_known(tmp_path: Path, read) -> None:
    with pytest.raises(DataError, match="does not know how many words 'source_ids' has"):
        read(write(tmp_path, "a", "a"), *specs())


def test_a_seed_gives_the_same_batches(tmp_path: Path, read) -> None:
    named = write(tmp_path, "\n".join(f"s{n}" for n in range(50)), "\n".join(f"t{n}" for n in range(50)))
    one, same = (read(named, *specs(), count=20, draws=sizes(99)) for _ in range(2))
    for name, values in one.items():
        np.testing.assert_array_equal(same[name], values)
    assert not np.array_equal(read(named, *specs(), count=20, draws=sizes(99), seed=1)["source_ids"], one["source_ids"])
