"""``cifar10``: records of the binary version, and what is wrong with others."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fathom_onnx.data import batches_for
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
COLOUR = (("images", (1, 3, 32, 32)), ("labels", (1, 10)))


def record(number: int) -> bytes:
    """Record ``number``: of class number % 10, red that number, green 100, blue 200, but for one red row and column."""
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[0], planes[1], planes[2] = number, 100, 200
    planes[0, 1, :] = 7
    planes[0, :, 2] = 9
    return bytes([number % 10]) + planes.tobytes()


def records(first: int, count: int) -> bytes:
    return b"".join(record(first + index) for index in range(count))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        (tmp_path / f"data_batch_{number + 1}.bin").write_bytes(records(20 * number, 4))
    (tmp_path / "test_batch.bin").write_bytes(records(200, 5))
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    return tmp_path


def shown(images: np.ndarray) -> np.ndarray:
    """The pixels of normalised images, 0 to 255, [batch, side, side, 3]."""
    return np.moveaxis(images.astype(np.float64), 1, -1) * DEVIATION * 255 + MEAN * 255


def test_a_record_is_red_green_and_blue_rows(folder: Path, read) -> None:
    batch = read(f"cifar10:{folder}", *COLOUR, split="training", count=20)
    pixels = np.rint(shown(batch["images"])).astype(int)
    numbers = pixels[:, 0, 0, 0]
    assert sorted(numbers) == [20 * part + index for part in range(5) for index in range(4)]
    np.testing.assert_array_equal(batch["labels"].argmax(1), numbers % 10)
    assert (pixels[:, :, :, 1:] == [100, 200]).all()
    assert (pixels[:, 1, :2, 0] == 7).all()
    assert (pixels[:, 5, 2, 0] == 9).all()
    assert (pixels[:, 2, 1, 0] == numbers).all()


def test_the_parts_are_the_official_files(folder: Path, read) -> None:
    def numbers(split: str, count: int) -> list[int]:
        images = read(f"cifar10:{folder}", COLOUR[0], split=split, count=count)["images"]
        return sorted(np.rint(shown(images)[:, 0, 0, 0]).astype(int).tolist())

    assert numbers("held-out", 5) == list(range(200, 205))
    assert numbers("all", 25) == sorted(numbers("training", 20) + list(range(200, 205)))
    (folder / "data_batch_3.bin").unlink()
    assert len(numbers("held-out", 5)) == 5
    with pytest.raises(DataError, match=r"no file '.*/data_batch_3.bin'; expected the files of CIFAR-10's binary"):
        numbers("training", 1)


def test_other_sides_are_resized_by_pillow(folder: Path, read) -> None:
    (folder / "one.bin").write_bytes(record(50))
    planes = np.frombuffer(record(50), np.uint8)[1:].reshape(3, 32, 32)
    picture = Image.fromarray(np.moveaxis(planes, 0, -1).copy())
    for side in (16, 224):
        wanted = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
        images = read(f"cifar10:{folder}/one.bin", ("images", (1, 3, side, side)))["images"]
        np.testing.assert_allclose(shown(images)[0], wanted, atol=1e-3)
    grey = read(f"cifar10:{folder}/one.bin", ("images", (1, 1024)))["images"]
    np.testing.assert_allclose(grey.reshape(32, 32), np.asarray(picture.convert("L")) / 255, atol=1e-6)


def test_classifiers_are_fed(folder: Path) -> None:
    batch = next(batches_for(workload("residual", "tiny"), "training", 0, f"cifar10:{folder}", split="training"))
    assert batch["images"].shape == (4, 3, 64, 64)
    assert batch["images"].dtype == np.float32


def test_one_file_has_two_parts_that_share_nothing(tmp_path: Path, read) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(gzip.compress(records(0, 100)))
    numbers = {
        split: set(np.rint(shown(read(f"cifar10:{path}", COLOUR[0], split=split, count=100)["images"])[:, 0, 0, 0]))
        for split in ("training", "held-out")
    }
    assert not numbers["training"] & numbers["held-out"]
    assert len(numbers["training"] | numbers["held-out"]) == 100
    path.write_bytes(record(3) * 2)
    empty = next(split for split in ("training", "held-out") if not len(part(path, split, read)))
    with pytest.raises(DataError, match=f"none of the 2 records of .* is in the {empty} part"):
        read(f"cifar10:{path}", COLOUR[0], split=empty)


def part(path: Path, split: str, read) -> list[int]:
    try:
        return list(read(f"cifar10:{path}", COLOUR[0], split=split)["images"])
    except DataError:
        return []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; expected records of 3073 bytes"),
        (records(0, 2)[:-1], "ends at byte 6145, 3072 bytes after the start of record 1; expected records"),
        (records(0, 2) + b"1", "ends at byte 6147, 1 bytes after the start of record 2"),
        (records(0, 2) + b"\x0a" + record(0)[1:], r"has class 10 in record 2 \(byte 6146\)"),
        (
            b"".join(b"\x01" + record(n) for n in range(3)),
            "3 bytes after the start of record 3: 3 records of 3074 bytes, as CIFAR-100 has",
        ),
        (pickle.dumps({"data": np.zeros(30)}), "bytes after the start of record 0"),  # the Python version
        (gzip.compress(records(0, 2))[:-5], "is gzip that is cut short"),
    ],
    ids=["empty", "cut", "longer", "class", "cifar-100", "python", "gzip"],
)
def test_what_is_no_file_of_records_is_refused(tmp_path: Path, read, data: bytes, message: str) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        read(f"cifar10:{path}", *COLOUR)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_fewer_classes_in_the_graph_are_refused(folder: Path, read) -> None:
    with pytest.raises(DataError, match=r"has 10 classes, and the graph 2; give it 10 or more \(--set classes=10\)"):
        read(f"cifar10:{folder}", ("images", (1, 3, 32, 32)), ("labels", (1, 2)), split="training")
