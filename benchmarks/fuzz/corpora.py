"""Files of corpora: what reads them, and examples of them."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fathom_onnx.workloads.contract import Draw, TensorSpec

__all__ = ["READERS", "seeds"]

_STORY = "1 Mary moved to the bathroom.\n2 Where is Mary? \tbathroom\t1\n"
_IMAGES = (TensorSpec("images", (1, 3, 8, 8)),)
_WORDS = Draw("integers", 0, 40)


def _taken(named: str, specs: tuple[TensorSpec, ...]) -> None:
    """A few batches of each part; the first refusal is raised."""
    from fathom_onnx.data import batches

    draws = {spec.name: spec.draw for spec in specs}
    for split in ("all", "training", "held-out"):
        list(itertools.islice(batches(named, specs, 0, draws, split=split), 3))  # type: ignore[arg-type]


def _story(path: Path) -> None:
    specs = (TensorSpec("stories", (1, 4, 7), "int64"), TensorSpec("answers", (1, 40)))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "qa_train.txt").write_bytes(path.read_bytes())
        (Path(folder) / "qa_test.txt").write_text(_STORY)
        _taken(f"babi:{folder}", specs)


def _picture(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in "ab":
            (Path(folder) / "class").mkdir(exist_ok=True)
            (Path(folder) / "class" / name).write_bytes(path.read_bytes())
        _taken(f"images:{folder}", _IMAGES)


def _parallel(path: Path) -> None:
    specs = tuple(TensorSpec(f"{side}_ids", (1, 4), "int64", draw=_WORDS) for side in ("source", "target"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "other").write_text("a b\nc\n" * 20)
        _taken(f"parallel:{path},{folder}/other", specs)


def _clicks(path: Path) -> None:
    column = TensorSpec("categories.0", (2, 1), "int64", draw=_WORDS)
    _taken(f"criteo:{path}", (TensorSpec("dense", (2, 13)), column, TensorSpec("clicks", (2, 1))))


def _edges(path: Path) -> None:
    lists = (TensorSpec(f"{side}.0", (8,), "int64", draw=Draw("integers", 0, 2)) for side in ("sources", "targets"))
    others = {
        "raw/num-node-list": "4",
        "raw/num-edge-list": "3",
        "raw/node-feat": "1,2\n" * 4,
        "raw/node-label": "0\n" * 4,
        **{f"split/time/{part}": node for part, node in (("train", "0\n1"), ("valid", "2"), ("test", "3"))},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in others.items():
            file = Path(folder) / f"{name}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (Path(folder) / "raw/edge.csv.gz").write_bytes(path.read_bytes())
        _taken(f"ogb:{folder}", (TensorSpec("features", (8, 2)), *lists, TensorSpec("labels", (2, 3))))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "mnist": ("", lambda path: _taken(f"mnist:{path}", (TensorSpec("images", (1, 25)),))),
    "cifar10": (".bin", lambda path: _taken(f"cifar10:{path}", (*_IMAGES, TensorSpec("labels", (1, 10))))),
    "picture": ("", _picture),
    "story": ("", _story),
    "parallel": ("", _parallel),
    "clicks": ("", _clicks),
    "edges": ("", _edges),
}
"""Kind of file to its suffix, and what reads it."""


def seeds() -> dict[str, tuple[bytes, ...]]:
    """Kind of file to examples of it."""
    from PIL import Image

    images = np.arange(40 * 25).astype(np.uint8).tobytes()
    idx = struct.pack(">HBB3I", 0, 8, 3, 40, 5, 5) + images
    records = b"".join(bytes([number % 10] * 3073) for number in range(12))
    pictures = []
    for mode, kind in (("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF"), ("L", "TIFF")):
        file = io.BytesIO()
        Image.new("RGB", (9, 7), (200, 100, 50)).convert(mode).save(file, kind)
        pictures.append(file.getvalue())
    clicks = b"".join(b"\t".join([b"%d" % (n % 2), *[b"%d" % n] * 13, *[b"%08x" % n] * 26]) + b"\n" for n in range(40))
    edges = b"0,1\n0,2\n3,1\n"
    sentences = b"".join(b"x%d y\r\n" % number for number in range(40))
    return {
        "mnist": (idx, gzip.compress(idx)),
        "cifar10": (records, gzip.compress(records)),
        "picture": tuple(pictures),
        "story": (_STORY.encode() * 2, gzip.compress(_STORY.encode())),
        "parallel": (sentences, gzip.compress(sentences)),
        "clicks": (clicks, gzip.compress(clicks)),
        "edges": (edges, gzip.compress(edges)),
    }
