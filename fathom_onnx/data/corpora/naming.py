"""The table of readers, and the one place where ``READER:PATH`` is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fathom_onnx.data.contract import Batch, BatchRequest, Source
from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.plugins import named_part, part_names

from .babi import open_babi
from .cifar10 import open_cifar10
from .class_folders import open_class_folders
from .criteo import open_criteo
from .files import in_home
from .mnist import open_mnist
from .ogb import open_ogb
from .parallel import open_parallel
from .text import open_text
from .timit import open_timit

__all__ = ["ENTRY_POINT_GROUP", "READERS", "SEPARATOR", "Reader", "corpus_source", "readers"]

ENTRY_POINT_GROUP = "fathom_onnx.readers"
"""Another package adds a reader by an entry point of this group that names a :class:`Reader`."""

SEPARATOR = ":"
"""Between a reader and a path. No built-in source has it in its name."""


@dataclass(frozen=True)
class Reader:
    """One row of the table of readers.

    Attributes:
        name: Its name on the command line.
        description: What it reads, in one line.
        open: From a request and a path to an endless stream of batches.
    """

    name: str
    description: str
    open: Callable[[BatchRequest, str], Iterator[Batch]]


_ROWS = (
    Reader(
        "mnist",
        "images and labels in IDX files, plain or gzip: a folder with MNIST's own file names, or one file of images",
        open_mnist,
    ),
    Reader(
        "cifar10",
        "CIFAR-10's binary version: a folder with data_batch_1.bin and so on and test_batch.bin, or one such file",
        open_cifar10,
    ),
    Reader(
        "images",
        "images in a folder for each class, as ImageNet and torchvision have them, with train and val or without",
        open_class_folders,
    ),
    Reader(
        "babi",
        "task files of bAbI v1.2: a file qa..._train.txt with qa..._test.txt beside it, or a folder of them",
        open_babi,
    ),
    Reader(
        "parallel",
        "sentences and their translations: SOURCE,TARGET, two files of text whose lines belong together",
        open_parallel,
    ),
    Reader(
        "text",
        "a text as bytes, or FILE,TOKENIZER.json: as tokens of a tokenizer in the format of the package tokenizers",
        open_text,
    ),
    Reader(
        "timit",
        "TIMIT: a folder with TRAIN and TEST, sounds in NIST SPHERE files and their phonemes in .PHN files",
        open_timit,
    ),
    Reader(
        "criteo",
        "click logs of Criteo, plain or gzip: a file such as train.txt, or a folder with it or with day_0 and on",
        open_criteo,
    ),
    Reader(
        "ogb",
        "a graph with classes of nodes, as the Open Graph Benchmark has them: a folder with raw and split in it",
        open_ogb,
    ),
)

READERS: dict[str, Reader] = {row.name: row for row in _ROWS}
"""The readers of this package, by name. Another format needs one more row, or :data:`ENTRY_POINT_GROUP`."""


def readers() -> list[str]:
    """The names of all readers, those of other packages last."""
    return list(dict.fromkeys([*READERS, *part_names(ENTRY_POINT_GROUP)]))


def corpus_source(named: str) -> Source:
    """The data source of a corpus; its name is ``named`` as it stands.

    Nothing is read before the source is opened.

    Args:
        named: ``READER:PATH``.

    Raises:
        UnknownNameError: No such reader.
        UsageError: No path.
        MissingDependencyError: Another package's entry point does not give one.
    """
    name, _, path = named.partition(SEPARATOR)
    if name not in readers():
        raise UnknownNameError("reader of corpora", name, readers())
    reader = READERS.get(name) or named_part(ENTRY_POINT_GROUP, name, "reader of corpora", Reader)
    if not path:
        raise UsageError(f"data source '{named}' names no path", f"give one, as in '{name}{SEPARATOR}PATH'")
    return Source(named, "real", reader.description, lambda request: reader.open(request, in_home(path)), on_disk=True)
