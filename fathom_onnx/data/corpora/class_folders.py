"""Folders of images by class: ImageNet's layout, and that of torchvision's ``ImageFolder``.

A folder has a folder for each class, and the classes are numbered by the sorted names. If it has ``train``, with class
folders in it, that is the training part, and ``val`` (or ``valid``, ``validation``, ``test``) is the held-out one.
Otherwise the last tenth of each class's files, by name, is held out: files with neighbouring names are often alike.

Images are files of any name. They are turned as their EXIF orientation says; transparent ones lie on white, CMYK and
palettes become RGB, 16 bits become 8. In training a random part of 8 % to 100 % of the area, with sides of 3:4 to 4:3,
is resized to the graph's size and mirrored half of the time (Szegedy et al. 2015, as in torchvision); held out, it is
the central square of 224/256 of the shorter side.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, Split, generator
from fathom_onnx.errors import DataError, one_line

from .division import HELD_OUT_ONE_IN
from .files import require_folder
from .pixels import labelled_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["centre_box", "decode", "open_class_folders", "random_box"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""

_TRAINING, _HELD_OUT = "train", ("val", "valid", "validation", "test")
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".ppm", ".pgm", ".pbm", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_STARTS = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"BM",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    *(b"P%d" % kind for kind in range(1, 7)),
)
_LITTER = {"Thumbs.db", "desktop.ini"}
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
_CENTRE = 224 / 256
_EXPECTED = "a folder with a folder of images for each class, or train and val with such folders"


@dataclass(frozen=True)
class _Listing:
    """The images of a part, and the class of each."""

    files: tuple[str, ...]
    classes: tuple[int, ...]
    names: tuple[str, ...]


def _upright(picture: Image) -> Image:
    """A picture as its EXIF orientation says; as it is where that cannot be read."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # EXIF that is broken says nothing of the pixels
        return picture


def _rgb(picture: Image, path: str) -> Image:
    from PIL import Image

    if picture.mode == "F":
        raise DataError(f"'{path}' has floating-point pixels", "expected pixels of 8 or 16 bits")
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 0xFFFF) >> 8).astype(np.uint8)).convert("RGB")
    if "transparency" in picture.info or picture.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        seen = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return picture.convert("RGB")


def decode(path: str) -> Image:
    """The picture in a file, upright, RGB.

    Raises:
        DataError: It is no image of a format that is read, or it is broken or cut short.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as opened:
            opened.load()
            return _rgb(_upright(opened), path)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"'{path}' {_begins(path)}", f"expected an image ({', '.join(_FORMATS)})") from error
    except Exception as error:  # a decoder raises errors of many types where bytes make no sense
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"'{path}' cannot be read: {error.strerror}", "check it") from error
        told = one_line(error, 120)
        raise DataError(f"'{path}' is a broken image: {told}", "get it again, or take it out") from error


def _begins(path: str) -> str:
    """How a file begins that is no image."""
    with Path(path).open("rb") as file:
        start = file.read(8)
    return f"begins with the bytes {start.hex(' ')}" if start else "is empty"


def random_box(width: int, height: int, rng: np.random.Generator) -> Box:
    """A random part of a picture, in whole pixels; of one too long for any, its middle."""
    for _ in range(10):
        area = width * height * rng.uniform(_AREA[0], _AREA[1])
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def centre_box(width: int, height: int) -> Box:
    """The central square of 224/256 of the shorter side."""
    size = min(width, height) * _CENTRE
    left, top = (width - size) / 2, (height - size) / 2
    return left, top, left + size, top + size


def _pictures(files: tuple[str, ...], split: Split, rng: np.random.Generator) -> Callable[[int, int], Image]:
    from PIL.Image import Resampling, Transpose

    def picture(index: int, side: int) -> Image:
        whole = decode(files[index])
        box = centre_box(*whole.size) if split == "held-out" else random_box(*whole.size, rng)
        part = whole.resize((side, side), Resampling.BILINEAR, box=box)
        mirrored = split != "held-out" and rng.random() < 0.5
        return part.transpose(Transpose.FLIP_LEFT_RIGHT) if mirrored else part

    return picture


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder by name, without hidden files and what file managers leave.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            kept = [entry for entry in found if not entry.name.startswith(".") and entry.name not in _LITTER]
    except OSError as error:
        raise DataError(f"folder '{folder}' cannot be read: {error.strerror}", "check its permissions") from error
    return sorted(kept, key=lambda entry: entry.name)


def _looks_like_an_image(entry: os.DirEntry[str]) -> bool:
    """By its suffix or else by its first bytes; whether it is one shows when it is decoded."""
    if os.path.splitext(entry.name)[1].lower() in _SUFFIXES:  # noqa: PTH122 (a path object for each of a million files)
        return True
    try:
        with open(entry.path, "rb") as file:  # noqa: PTH123
            return file.read(4).startswith(_STARTS)
    except OSError:
        return True  # what is wrong with it is said when it is decoded


def _files(folder: Path, others: list[str]) -> Iterator[str]:
    """The images in a folder and in folders below it; files that are none are added to ``others``."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), others)
        elif _looks_like_an_image(entry):
            yield entry.path
        else:
            others.append(entry.path)


def _class_names(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _listed(folder: Path, names: list[str], known: list[str], others: list[str]) -> _Listing:
    """The images of class folders, numbered as in ``known``.

    Raises:
        DataError: A folder has no image, or none of ``known`` has its name.
    """
    files: list[str] = []
    classes: list[int] = []
    for name in names:
        if name not in known:
            listed = one_line(", ".join(known), 80)
            raise DataError(f"folder '{folder / name}' is of no class of training", f"expected {listed}")
        found = list(_files(folder / name, others))
        if not found:
            raise DataError(f"class folder '{folder / name}' has no image", f"expected {_EXPECTED}")
        files += found
        classes += [known.index(name)] * len(found)
    if not files:
        raise DataError(f"folder '{folder}' has no class folders", f"expected {_EXPECTED}")
    return _Listing(tuple(files), tuple(classes), tuple(known))


def _divided(listing: _Listing, split: Split, folder: Path) -> _Listing:
    """The part of a listing that has no held-out part of its own: the last tenth of each class, one file at least."""
    if split == "all":
        return listing
    counts = np.bincount(listing.classes)
    held_out = [max(1, count // HELD_OUT_ONE_IN) if count > 1 else 0 for count in counts]
    first = np.cumsum(counts) - held_out  # classes follow one another
    chosen = [i for i, c in enumerate(listing.classes) if (i >= first[c]) == (split == "held-out")]
    if not chosen:
        raise DataError(f"folder '{folder}' has one image a class, none to hold out", "give more, or train and val")
    return _Listing(tuple(listing.files[i] for i in chosen), tuple(listing.classes[i] for i in chosen), listing.names)


def _joined(*parts: _Listing) -> _Listing:
    return _Listing(sum((p.files for p in parts), ()), sum((p.classes for p in parts), ()), parts[0].names)


def _part(folder: Path, split: Split, others: list[str]) -> _Listing:
    """The images of the part requested."""
    names = _class_names(folder)
    if _TRAINING not in names or not _class_names(folder / _TRAINING):
        return _divided(_listed(folder, names, names, others), split, folder)
    known = _class_names(folder / _TRAINING)
    other = next((folder / name for name in _HELD_OUT if name in names), None)
    if other is None or split == "training":
        training = _listed(folder / _TRAINING, known, known, others)
        return training if other is not None else _divided(training, split, folder / _TRAINING)
    held_out = _listed(other, _class_names(other), known, others)
    if split == "held-out":
        return held_out
    return _joined(_listed(folder / _TRAINING, known, known, others), held_out)


def open_class_folders(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``images`` and ``labels``.

    Args:
        request: The request.
        path: The folder.

    Raises:
        DataError: It has another layout, an image is broken (raised when it comes), or the request cannot be filled.
    """
    folder = require_folder(Path(path), _EXPECTED)
    others: list[str] = []
    part = _part(folder, request.split, others)
    if others:
        request.remark(f"{len(others)} files in '{path}' are no images and are left out, such as '{others[0]}'")
    pictures = _pictures(part.files, request.split, generator(request.seed, "images:crop"))
    labels: Any = np.asarray(part.classes)
    return labelled_pictures(request, f"images:{path}", pictures, labels, len(part.names))
