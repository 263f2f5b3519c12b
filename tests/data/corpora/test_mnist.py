"""``mnist``: IDX files as LeCun published them, and what is wrong with others."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from fathom_onnx.data import batches_for
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def digits(count: int, first: int = 0, side: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images whose every pixel is their number, and its last digit as the label."""
    numbers = np.arange(first, first + count)
    return np.broadcast_to(numbers[:, None, None], (count, side, side)), numbers % 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, (images, labels) in {"train": digits(30), "t10k": digits(12, 100)}.items():
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_every_image_comes_once_with_its_label(folder: Path, read) -> None:
    batch = read(f"mnist:{folder}", ("images", (6, 16)), ("labels", (6, 10)), split="training", count=5)
    numbers = np.rint(batch["images"][:, 0] * 255).astype(int)
    assert sorted(numbers) == list(range(30))
    assert list(numbers) != list(range(30))
    np.testing.assert_array_equal(batch["images"], np.repeat(np.float32(numbers[:, None]) / np.float32(255), 16, 1))
    np.testing.assert_array_equal(batch["labels"], np.eye(10)[numbers % 10])


def test_the_parts_are_the_official_files(folder: Path, read) -> None:
    def numbers(split: str, count: int) -> list[int]:
        images = read(f"mnist:{folder}", ("images", (1, 4, 4)), split=split, count=count)["images"]
        return sorted(np.rint(images[:, 0, 0] * 255).astype(int).tolist())

    assert numbers("training", 30) == list(range(30))
    assert numbers("held-out", 12) == list(range(100, 112))
    assert numbers("all", 42) == [*range(30), *range(100, 112)]


def test_colour_images_are_grey_ones_normalised_three_times(folder: Path, read) -> None:
    batch = read(f"mnist:{folder}", ("images", (1, 3, 8, 8)), ("labels", (1,), "int64"), count=42)
    shown = batch["images"][:, :, 0, 0].astype(np.float64) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    numbers = np.rint(shown * 255).astype(int)
    assert (numbers == numbers[:, :1]).all()
    np.testing.assert_array_equal(batch["labels"], numbers[:, 0] % 10)
    assert (batch["images"] == batch["images"][:, :, :1, :1]).all()  # a plain image stays plain when it is enlarged


def test_gzip_is_known_by_its_first_bytes_whatever_the_name(folder: Path, read) -> None:
    plain = read(f"mnist:{folder}", ("images", (12, 16)), ("labels", (12, 10)), split="held-out")
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        path = folder / name
        path.with_name(name + ".gz").write_bytes(path.read_bytes())  # plain under a packed name
        path.unlink()
    again = read(f"mnist:{folder}", ("images", (12, 16)), ("labels", (12, 10)), split="held-out")
    for path in folder.glob("t10k*"):
        path.write_bytes(gzip.compress(path.read_bytes()))
        path.rename(path.with_suffix(""))  # packed under a plain name
    packed = read(f"mnist:{folder}", ("images", (12, 16)), ("labels", (12, 10)), split="held-out")
    for name, values in plain.items():
        np.testing.assert_array_equal(again[name], values)
        np.testing.assert_array_equal(packed[name], values)


def test_names_with_a_dot_are_official_too(folder: Path, read) -> None:
    for path in folder.iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert read(f"mnist:{folder}", ("images", (30, 16)), ("labels", (30, 10)), split="training")["labels"].sum() == 30


def test_one_file_has_two_parts_that_share_nothing(tmp_path: Path, read) -> None:
    images, labels = digits(200)
    images = np.concatenate([images, images])  # every image twice: a copy is in the same part
    path = tmp_path / "my-images-idx3-ubyte"
    path.write_bytes(idx(images))
    (tmp_path / "my-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.concatenate([labels, labels]))))
    seen = {
        split: set(read(f"mnist:{path}", ("images", (1, 16)), split=split, count=400)["images"][:, 0].tolist())
        for split in ("training", "held-out", "all")
    }
    assert not seen["training"] & seen["held-out"]
    assert seen["training"] | seen["held-out"] == seen["all"]
    assert len(seen["all"]) == 200
    assert 5 <= len(seen["held-out"]) <= 40
    batch = read(f"mnist:{path}", ("images", (50, 16)), ("labels", (50, 10)), split="held-out")
    np.testing.assert_array_equal(batch["labels"].argmax(1), np.rint(batch["images"][:, 0] * 255).astype(int) % 10)


def test_a_seed_gives_the_same_batches_and_labels_do_not_change_images(folder: Path, read) -> None:
    both = read(f"mnist:{folder}", ("images", (8, 16)), ("labels", (8, 10)))
    np.testing.assert_array_equal(read(f"mnist:{folder}", ("images", (8, 16)))["images"], both["images"])
    assert not np.array_equal(read(f"mnist:{folder}", ("images", (8, 16)), seed=1)["images"], both["images"])


def test_autoenc_and_classifiers_are_fed(folder: Path) -> None:
    autoenc = next(batches_for(workload("autoenc", "tiny"), "training", 0, f"mnist:{folder}", split="training"))
    assert autoenc["images"].shape == (8, 196)
    assert 0 <= autoenc["images"].min() <= autoenc["images"].max() <= 29 / 255 + 1e-6
    residual = next(batches_for(workload("residual", "tiny"), "training", 0, f"mnist:{folder}", split="training"))
    assert residual["images"].shape == (4, 3, 64, 64)
    assert (residual["labels"].sum(1) == 1).all()


def test_one_file_without_labels_beside_it_feeds_what_needs_none(tmp_path: Path, read) -> None:
    for name, message in (
        ("some-images", "expected 'some-labels' beside it"),
        ("some", "expected 'images' in its name"),
    ):
        path = tmp_path / name
        path.write_bytes(IMAGES)
        assert read(f"mnist:{path}", ("images", (3, 16)))["images"].shape == (3, 16)
        with pytest.raises(DataError, match=f"has no file of labels; {message}"):
            read(f"mnist:{path}", ("images", (3, 16)), ("labels", (3, 10)))


# what is refused

IMAGES = idx(digits(3)[0])
PACKED = gzip.compress(IMAGES, mtime=0)
BIG = struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, not even the 16 of a header; expected an IDX file of images"),
        (IMAGES[:9], "has 9 bytes, not even the 16"),
        (IMAGES[:-1], "ends at byte 63; by its header, 3 x 4 x 4, it has 64 bytes; get the file again"),
        (IMAGES + b"x", "ends at byte 65; by its header, 3 x 4 x 4, it has 64 bytes; its header does not belong"),
        (idx(digits(30)[1]), r"has 1 axes, as labels have \(byte 3\); expected 3"),
        (IMAGES[:2] + b"\x0d" + IMAGES[3:], r"elements of type 0x0d \(byte 2\)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "begins with the bytes 89 50 4e 47; expected 00 00 08 03"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, 28, 28), "is empty: its header says 0 x 28 x 28"),
        (BIG, "by its header, 4294967295 x 4294967295 x 4294967295"),
        (PACKED[:-9], "is gzip that is cut short at byte"),
        (PACKED[:-8] + bytes(8), "is gzip that is broken: CRC check failed"),
        (idx(np.zeros((2, 3, 5))), "has images of 3 x 5; expected square ones"),
    ],
)
def test_what_is_no_file_of_images_is_refused(tmp_path: Path, read, data: bytes, message: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        read(f"mnist:{path}", ("images", (2, 16)))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_named(folder: Path, read) -> None:
    with pytest.raises(DataError, match=r"no file '.*/none'; expected an IDX file of images"):
        read(f"mnist:{folder}/none", ("images", (2, 16)))
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert read(f"mnist:{folder}", ("images", (2, 16)), split="held-out")["images"].shape == (2, 16)
    with pytest.raises(DataError, match="has no 't10k-labels-idx1-ubyte'; expected MNIST's own file names"):
        read(f"mnist:{folder}", ("images", (2, 16)), ("labels", (2, 10)), split="held-out")
    (folder / "t10k-images-idx3-ubyte").unlink()
    (folder / "t10k-images-idx3-ubyte").mkdir()
    with pytest.raises(DataError, match="has no 't10k-images-idx3-ubyte'"):
        read(f"mnist:{folder}", ("images", (2, 16)), split="held-out")
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match="is a special file, not a file"):
        read(f"mnist:{folder}/pipe", ("images", (2, 16)))
    with pytest.raises(DataError, match="no file"):
        read(f"mnist:{folder}/{'x' * 5000}", ("images", (2, 16)))


def test_parts_that_were_mixed_are_refused(folder: Path, read) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes((folder / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match=r"train-images.* has 30 images and '.*train-labels.*' 12 labels; give files"):
        read(f"mnist:{folder}", ("images", (2, 16)), ("labels", (2, 10)), split="training")


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            [("images", (2, 16)), ("labels", (2, 5))],
            r"train-labels.* has the label 5 for image 5 \(byte 13\), and the graph 5 classes; expected 0 to 4",
        ),
        ([("images", (2, 15))], r"cannot fill images of shape \[2, 15\]"),
        ([("images", (2, 2, 4, 4))], r"cannot fill images of shape \[2, 2, 4, 4\]"),
        ([("images", (2, 16)), ("labels", (3, 10))], "ask for as many images as labels"),
        ([("stories", (2, 16))], r"'mnist:.*' has no input 'stories'"),
        ([("labels", (2, 3, 4))], "cannot fill labels of shape"),
        ([], "cannot fill no input"),
    ],
)
def test_what_cannot_be_filled_is_said(folder: Path, read, specs: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(f"mnist:{folder}", *specs, split="training")
