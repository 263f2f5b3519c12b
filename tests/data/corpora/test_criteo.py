"""``criteo``: click logs line by line, their transforms by hand, their parts, and what is wrong with others."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.data.corpora import criteo as reader
from fathom_onnx.data.corpora.division import is_held_out
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload

CLICKS = [("dense", (4, 3)), *((f"categories.{n}", (4, 1), "int64") for n in range(2)), ("clicks", (4, 1))]
SIZES = {"categories.0": 1000, "categories.1": 7}


def line(number: int, clicked: int = 0) -> str:
    """An impression whose counts and categories are its number, as far as it has any."""
    return "\t".join([str(clicked), *[str(number)] * 13, *[f"{number:08x}"] * 26])


def log(first: int, last: int) -> bytes:
    return "".join(line(number, number % 2) + "\n" for number in range(first, last)).encode()


def counts(batch: dict[str, np.ndarray]) -> list[int]:
    """The numbers of the impressions of a batch."""
    return np.rint(np.expm1(batch["dense"][:, 0])).astype(int).tolist()


def test_an_impression_by_hand(tmp_path: Path, read) -> None:
    """I1 is empty, I2 below 0, I3 is 7; C1 is empty, C2 is 0x68fd1e64 = 1761418852, which leaves 6 by 7."""
    fields = ["1", "", "-2", "7", *["5"] * 10, "", "68fd1e64", *["80e26c9b"] * 24]
    (tmp_path / "x").write_text("\t".join(fields))
    remarks: list[str] = []
    batch = read(f"criteo:{tmp_path}/x", *CLICKS, draws=SIZES, remarks=remarks)
    np.testing.assert_allclose(batch["dense"], [[0, 0, math.log(8)]] * 4, rtol=1e-6)
    assert batch["categories.0"].tolist() == [[0]] * 4
    assert batch["categories.1"].tolist() == [[1761418852 % 7]] * 4
    assert batch["categories.1"].dtype == np.int64
    assert batch["clicks"].tolist() == [[1.0]] * 4
    assert remarks == [
        f"of 'criteo:{tmp_path}/x' the graph takes the first 3 of 13 counts and the first 2 of 26 categories"
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_impression_comes_once_before_any_comes_again(tmp_path: Path, read, pack) -> None:
    (tmp_path / "x").write_bytes(pack(log(0, 40)))
    batch = read(f"criteo:{tmp_path}/x", *CLICKS, draws=SIZES, count=20)
    seen = counts(batch)
    assert sorted(seen[:40]) == sorted(seen[40:]) == list(range(40))
    assert seen[:40] != list(range(40)) != seen[40:]
    assert batch["categories.0"][:, 0].tolist() == seen
    assert batch["clicks"][:, 0].tolist() == [number % 2 for number in seen]


def test_windows_divide_a_log_that_is_longer(tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WINDOW", 8)
    (tmp_path / "x").write_bytes(log(0, 20))
    seen = counts(read(f"criteo:{tmp_path}/x", *CLICKS, draws=SIZES, count=5))
    assert [sorted(seen[:8]), sorted(seen[8:16]), sorted(seen[16:])] == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 20)),
    ]


def test_one_line_in_ten_of_a_log_is_held_out(tmp_path: Path, read) -> None:
    (tmp_path / "train.txt").write_bytes(log(0, 200))
    held = {number for number in range(200) if is_held_out(line(number, number % 2).encode())}
    assert 5 < len(held) < 40
    for named in (tmp_path, tmp_path / "train.txt"):
        for split, numbers in (("held-out", held), ("training", set(range(200)) - held), ("all", set(range(200)))):
            assert set(counts(read(f"criteo:{named}", *CLICKS, draws=SIZES, split=split, count=50))) == numbers


def test_the_last_day_of_a_folder_is_held_out(tmp_path: Path, read) -> None:
    for day, pack in ((0, bytes), (2, bytes), (10, gzip.compress)):
        name = f"day_{day}" + (".gz" if pack is gzip.compress else "")
        (tmp_path / name).write_bytes(pack(log(20 * day, 20 * day + 20)))
    (tmp_path / "notes.txt").write_text("no log")
    for split, days in (("training", (0, 2)), ("held-out", (10,)), ("all", (0, 2, 10))):
        expected = {20 * day + n for day in days for n in range(20)}
        seen = counts(read(f"criteo:{tmp_path}", *CLICKS, draws=SIZES, split=split, count=15))
        assert set(seen) == expected


def test_dlrm_is_fed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(log(1, 9))
    for made in (workload("dlrm", "small"), workload("dlrm", "tiny", {"lookups": 1})):
        for mode in ("training", "inference"):
            batch = next(batches_for(made, mode, 0, f"criteo:{tmp_path}/x"))
            assert {k: v.shape for k, v in batch.items()} == {s.name: s.shape for s in made.batch_inputs(mode)}
            assert batch["categories.2"].max() < made.config.rows[2]


CUT = log(0, 30)[:-3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x' has no impression in the all part; expected a log of Criteo"),
        (b"\n", r"x', line 1 has 1 fields; expected 40: a log of Criteo"),
        (log(0, 2) + b"\n" + log(2, 4), r"x', line 3 has 1 fields"),
        (line(1).partition("\t")[2].encode(), r"line 1 has 39 fields, as in a test.txt, which does not say what was"),
        (log(0, 3) + line(3, 2).encode(), r"line 4 has '2' in field 1; expected 0 or 1, whether there was a click"),
        (line(1).replace("1", "1.5", 2).encode(), r"line 1 has '1.5' in field 2; expected a whole number or nothing"),
        (line(0x1A).replace("0000001a", "0x1a", 1).encode(), r"line 1 has '0x1a' in field 15; expected up to eight"),
        (line(1).replace("\t", ",").encode(), r"line 1 has 1 fields; expected 40"),
        (line(1).encode("utf-16"), r"x' is UTF-16 text"),
        (gzip.compress(log(0, 30))[:-9], r"x' is gzip that is cut short at byte \d+"),
        (log(0, 3) + b"\x00" * 9, r"x' has a zero byte in line 4"),
        (log(0, 30)[:-100], r"x', line 30 has \d+ fields"),
    ],
    ids=[
        "empty", "blank", "gap", "unlabelled", "label", "count", "category", "commas", "utf-16", "gzip", "zeros", "cut",
    ],
)  # fmt: skip
def test_what_is_no_log_is_refused(tmp_path: Path, read, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read(f"criteo:{tmp_path}/x", *CLICKS, draws=SIZES)


def test_a_fault_beyond_the_first_window_is_found_where_it_comes(
    tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WINDOW", 8)
    (tmp_path / "x").write_bytes(log(0, 10) + b"1\t2\n")
    assert len(counts(read(f"criteo:{tmp_path}/x", *CLICKS, draws=SIZES, count=2))) == 8
    with pytest.raises(DataError, match=r"x', line 11 has 2 fields"):
        read(f"criteo:{tmp_path}/x", *CLICKS, draws=SIZES, count=3)


def test_folders_without_a_log_are_refused(tmp_path: Path, read) -> None:
    with pytest.raises(DataError, match=r"has no file 'train.txt' or 'day_0'; expected a log of Criteo"):
        read(f"criteo:{tmp_path}", *CLICKS, draws=SIZES)
    (tmp_path / "day_0").write_bytes(log(0, 9))
    (tmp_path / "day_0.gz").write_bytes(gzip.compress(log(0, 9)))
    with pytest.raises(DataError, match=r"has 'day_0' and 'day_0.gz'; expected a day once"):
        read(f"criteo:{tmp_path}", *CLICKS, draws=SIZES)
    with pytest.raises(DataError, match=r"no file '.*none'; expected a log of Criteo"):
        read(f"criteo:{tmp_path}/none", *CLICKS, draws=SIZES)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([("dense", (4, 14))], r"has 13 counts and 26 categories, and the graph 14 and 0; .*--set dense=13"),
        ([("dense", (4, 3)), ("categories.0", (4, 2), "int64")], r"\[4, 2\]: a category has one value; .*lookups=1"),
        ([("dense", (4, 3)), ("images", (4, 3))], "has no input 'images'"),
        ([("clicks", (4, 1))], "was not asked for counts"),
    ],
)
def test_what_cannot_be_filled_is_said(tmp_path: Path, read, specs: list, message: str) -> None:
    (tmp_path / "x").write_bytes(log(0, 9))
    with pytest.raises(DataError, match=message):
        read(f"criteo:{tmp_path}/x", *specs, draws=SIZES)
