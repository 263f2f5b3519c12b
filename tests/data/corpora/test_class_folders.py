"""``images``: folders of class folders with images of every kind, and what is wrong with others."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fathom_onnx.data import batches_for
from fathom_onnx.data.corpora.class_folders import centre_box, decode, random_box
from fathom_onnx.errors import DataError
from fathom_onnx.workloads import workload

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IMAGES, LABELS = ("images", (1, 3, 8, 8)), ("labels", (1, 5))


def shown(images: np.ndarray) -> np.ndarray:
    return np.rint(np.moveaxis(images.astype(np.float64), 1, -1) * DEVIATION * 255 + MEAN * 255).astype(int)


def plain(path: Path, red: int, size: tuple[int, int] = (12, 12), kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, 100, 50)).save(path, kind)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("cat", "ant", "bee")):
        for index in range(20):
            plain(tmp_path / name / f"{index:02}.png", 60 * number + index)
    return tmp_path


def reds(read, folder: Path, split: str, count: int) -> list[tuple[int, int]]:
    """Pairs (red, class), sorted."""
    batch = read(f"images:{folder}", IMAGES, LABELS, split=split, count=count)
    pixels = shown(batch["images"])
    assert (pixels == pixels[:, :1, :1]).all()
    return sorted(zip(pixels[:, 0, 0, 0].tolist(), batch["labels"].argmax(1).tolist(), strict=True))


# layout


def test_classes_are_numbered_by_name_and_the_last_tenth_of_each_is_held_out(folder: Path, read) -> None:
    number = {"ant": 0, "bee": 1, "cat": 2}
    pairs = [(60 * k + i, number[name]) for k, name in enumerate(("cat", "ant", "bee")) for i in range(20)]
    assert reds(read, folder, "all", 60) == sorted(pairs)
    assert reds(read, folder, "held-out", 6) == sorted(p for p in pairs if p[0] % 60 >= 18)
    assert reds(read, folder, "training", 54) == sorted(p for p in pairs if p[0] % 60 < 18)


def test_train_and_val_are_imagenets_parts(tmp_path: Path, read) -> None:
    plain(tmp_path / "train/n02/deep/a.JPEG", 10)
    plain(tmp_path / "train/n01/b", 20)
    plain(tmp_path / "val/n02/a.JPEG", 30)
    assert reds(read, tmp_path, "training", 2) == [(10, 1), (20, 0)]
    assert reds(read, tmp_path, "held-out", 1) == [(30, 1)]
    assert reds(read, tmp_path, "all", 3) == [(10, 1), (20, 0), (30, 1)]
    plain(tmp_path / "val/n03/a.JPEG", 30)
    with pytest.raises(DataError, match=r"val/n03' is of no class of training; expected n01, n02"):
        reds(read, tmp_path, "held-out", 1)


def test_a_part_may_have_another_name_or_be_made(tmp_path: Path, read) -> None:
    for index in range(10):
        plain(tmp_path / f"train/a/{index}.png", index)
    assert reds(read, tmp_path, "held-out", 1) == [(9, 0)]
    assert reds(read, tmp_path, "training", 9) == [(i, 0) for i in range(9)]
    plain(tmp_path / "test/a/x.png", 77)
    assert reds(read, tmp_path, "held-out", 1) == [(77, 0)]
    assert reds(read, tmp_path, "training", 10) == [(i, 0) for i in range(10)]


def test_a_class_may_be_called_train(tmp_path: Path, read) -> None:
    plain(tmp_path / "train/a.png", 1)
    plain(tmp_path / "bus/a.png", 2)
    assert reds(read, tmp_path, "all", 2) == [(1, 1), (2, 0)]


def test_litter_is_passed_over_and_other_files_are_said(folder: Path, read) -> None:
    (folder / "ant/.DS_Store").write_bytes(b"x")
    (folder / "ant/Thumbs.db").write_bytes(b"x")
    (folder / "readme.txt").write_text("x")
    (folder / ".cache").mkdir()
    remarks: list[str] = []
    read(f"images:{folder}", IMAGES, LABELS, remarks=remarks)
    assert remarks == []
    (folder / "bee/boxes.txt").write_text("0 0 1 1")
    read(f"images:{folder}", IMAGES, LABELS, count=60, remarks=remarks)
    assert remarks == [
        f"1 files in '{folder}' are no images and are left out, such as '{folder}/bee/boxes.txt'",
    ]


def test_labels_and_order_do_not_depend_on_the_images(folder: Path, read) -> None:
    both = read(f"images:{folder}", IMAGES, LABELS, count=10)
    np.testing.assert_array_equal(read(f"images:{folder}", LABELS, count=10)["labels"], both["labels"])
    again = read(f"images:{folder}", IMAGES, LABELS, count=10)
    np.testing.assert_array_equal(again["images"], both["images"])


def test_classifiers_are_fed(folder: Path) -> None:
    batch = next(batches_for(workload("residual", "tiny"), "training", 0, f"images:{folder}", split="training"))
    assert batch["images"].shape == (4, 3, 64, 64)


# decoding


def saved(picture: Image.Image, path: Path, kind: str, **options: object) -> str:
    picture.save(path, kind, **options)
    return str(path)


def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path) -> None:
    def pixel(picture: Image.Image, kind: str, **options: object) -> tuple[int, ...]:
        made = decode(saved(picture, tmp_path / "x", kind, **options))
        assert made.mode == "RGB"
        return made.getpixel((1, 1))

    size = (8, 8)
    assert pixel(Image.new("L", size, 200), "PNG") == (200, 200, 200)
    assert pixel(Image.new("1", size, 1), "PNG") == (255, 255, 255)
    assert pixel(Image.new("LA", size, (0, 0)), "PNG") == (255, 255, 255)
    assert pixel(Image.new("RGBA", size, (10, 20, 30, 255)), "PNG") == (10, 20, 30)
    assert pixel(Image.new("RGBA", size, (0, 0, 0, 51)), "PNG") == (204, 204, 204)
    assert pixel(Image.fromarray(np.full(size, 0x8034, np.uint16)), "PNG") == (128, 128, 128)
    palette = Image.new("P", size, 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert pixel(palette, "PNG") == (9, 8, 7)
    assert pixel(palette, "PNG", transparency=1) == (255, 255, 255)
    assert pixel(palette, "GIF") == (9, 8, 7)
    red = pixel(Image.new("CMYK", size, (0, 255, 255, 0)), "JPEG")
    assert np.abs(np.array(red) - (255, 0, 0)).max() <= 2
    with pytest.raises(DataError, match="has floating-point pixels"):
        pixel(Image.new("F", size, 0.5), "TIFF")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(tmp_path: Path, orientation: int) -> None:
    """A picture with a white corner at the top left, stored as the orientation says that it was taken."""
    upright = Image.new("L", (32, 16))
    upright.paste(255, (0, 0, 8, 8))
    stored = {
        1: (),
        2: (Image.Transpose.FLIP_LEFT_RIGHT,),
        3: (Image.Transpose.ROTATE_180,),
        4: (Image.Transpose.FLIP_TOP_BOTTOM,),
        5: (Image.Transpose.TRANSPOSE,),
        6: (Image.Transpose.ROTATE_90,),
        7: (Image.Transpose.TRANSVERSE,),
        8: (Image.Transpose.ROTATE_270,),
    }[orientation]
    turned = upright
    for step in stored:
        turned = turned.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(saved(turned, tmp_path / "x.jpg", "JPEG", exif=exif, quality=100))
    assert found.size == (32, 16)
    assert np.abs(np.asarray(found)[..., 0].astype(int) - np.asarray(upright)).max() < 40


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_break_an_image(tmp_path: Path) -> None:
    path = saved(Image.new("L", (8, 8), 90), tmp_path / "x.jpg", "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(path).size == (8, 8)


# crops


def test_the_held_out_crop_is_the_central_square(tmp_path: Path, read) -> None:
    assert centre_box(256, 512) == (16, 144, 240, 368)
    assert centre_box(512, 256) == (144, 16, 368, 240)
    picture = Image.new("RGB", (128, 64), "black")
    picture.paste((255, 255, 255), (36, 4, 92, 60))  # 56 = 64 * 224 / 256 pixels
    for name in "ab":
        (tmp_path / name).mkdir()
        for index in range(2):
            picture.save(tmp_path / name / f"{index}", "PNG")
    images = read(f"images:{tmp_path}", ("images", (2, 3, 56, 56)), split="held-out")["images"]
    assert (shown(images) == 255).all()
    cropped = read(f"images:{tmp_path}", ("images", (2, 3, 56, 56)), split="training", count=10)["images"]
    assert (shown(cropped) < 128).any()


def test_random_boxes_are_parts_within_the_bounds() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(300, 200, rng) for _ in range(500)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 300).all()
    assert (boxes[:, 3] <= 200).all()
    share, ratio = width * height / 60_000, width / height
    assert 0.075 < share.min() < 0.12
    assert 0.8 < share.max() <= 1.0
    assert 0.74 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.36
    assert random_box(10, 1000, rng) == (0, 493, 10, 506)  # 10 x 13 in the middle
    assert random_box(1, 1, rng) == (0, 0, 1, 1)


def test_half_of_the_crops_are_mirrored(tmp_path: Path, read) -> None:
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste((255, 255, 255), (32, 0, 64, 64))
    (tmp_path / "a").mkdir()
    picture.save(tmp_path / "a" / "x", "PNG")
    images = shown(read(f"images:{tmp_path}", ("images", (1, 3, 8, 8)), count=200)["images"])[..., 0]
    brighter = np.sign(images[:, :, -1].mean(1) - images[:, :, 0].mean(1))
    assert 60 < (brighter > 0).sum() < 140
    assert 60 < (brighter < 0).sum() < 140


# what is refused


def jpeg() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(data, "JPEG")
    return data.getvalue()


def png() -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


BIG = b"P6\n99999 99999\n255\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; expected an image"),
        (b"<html>404</html>", "begins with the bytes 3c 68 74 6d 6c 3e 34 30; expected an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "begins with the bytes 25 21 50 53"),
        (jpeg()[:700], "is a broken image: .*truncated"),
        (jpeg()[:20], "expected an image|is a broken image"),
        (png()[:2000], "is a broken image"),
        (png()[:100] + b"xxxx" + png()[104:], "is a broken image"),
        (BIG, "is a broken image: Image size .* exceeds limit"),
    ],
    ids=["empty", "html", "eps", "jpeg", "jpeg header", "png", "png bytes", "bomb"],
)
def test_a_broken_image_is_named(tmp_path: Path, read, data: bytes, message: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.jpg").write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        read(f"images:{tmp_path}", IMAGES)
    assert f"'{tmp_path}/a/x.jpg'" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert read(f"images:{tmp_path}", LABELS)["labels"].sum() == 1  # classes need no pixels


def test_other_layouts_are_refused(tmp_path: Path, read) -> None:
    with pytest.raises(DataError, match=r"no folder '.*/none'; expected a folder with a folder of images"):
        read(f"images:{tmp_path}/none", IMAGES)
    plain(tmp_path / "flat/x.png", 1)
    with pytest.raises(DataError, match=r"flat' has no class folders"):
        read(f"images:{tmp_path}/flat", IMAGES)
    with pytest.raises(DataError, match=r"x.png' is a file, not a folder"):
        read(f"images:{tmp_path}/flat/x.png", IMAGES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"class folder '.*/empty' has no image"):
        read(f"images:{tmp_path}", IMAGES)
    (tmp_path / "empty/x").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"empty/x' cannot be read: No such file"):
        read(f"images:{tmp_path}", IMAGES, count=2)
    (tmp_path / "empty/x").unlink()
    plain(tmp_path / "empty/x", 3)
    with pytest.raises(DataError, match="has one image a class, none to hold out"):
        read(f"images:{tmp_path}", IMAGES, split="held-out")
    with pytest.raises(DataError, match="has 2 classes, and the graph 1; give it 2 or more"):
        read(f"images:{tmp_path}", IMAGES, ("labels", (1, 1)))


def test_a_flat_val_is_said(tmp_path: Path, read) -> None:
    plain(tmp_path / "train/a/x.png", 1)
    plain(tmp_path / "val/ILSVRC2012_val_00000001.JPEG", 1)
    with pytest.raises(DataError, match=r"val' has no class folders"):
        read(f"images:{tmp_path}", IMAGES, split="held-out")
