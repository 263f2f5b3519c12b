"""Text as a stream of tokens, for models that predict the next one.

The path is ``FILE``, whose bytes are the tokens, or ``FILE,TOKENIZER.json``, with a tokenizer in the format of the
package ``tokenizers``. That one reads the text, which must be UTF-8, in pieces of about a million characters that end
with a line; it adds no special tokens.

The last tenth of the tokens is held out. A part is cut into sequences of the graph's length, which follow one another;
every one comes once, in a random order, before any is repeated. The token after each is its label.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, Split, check_inputs, endless_shuffle, generator
from fathom_onnx.errors import DataError, MissingDependencyError, UsageError, one_line
from fathom_onnx.workloads.contract import Array

from .division import HELD_OUT_ONE_IN
from .files import path_pair, read_bytes, require_file, what_is

__all__ = ["open_text"]

_TEXT = "a file of text"
_TOKENIZER = "a tokenizer of the package tokenizers, in JSON"
_PIECE = 1 << 20


def _pieces(text: str) -> Iterator[str]:
    """Parts of a text that end with a line, of about a million characters; longer where a line is."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PIECE - 1) + 1 or len(text)
        yield text[start:end]
        start = end


def _tokenized(path: Path, tokenizer: Path) -> Array:
    """The tokens of a text, int64.

    Raises:
        MissingDependencyError: The package is not installed.
        DataError: The text is not UTF-8, or the file is no tokenizer.
    """
    require_file(tokenizer, _TOKENIZER)
    if find_spec("tokenizers") is None:
        raise MissingDependencyError(
            "a tokenizer needs the package tokenizers", "pip install tokenizers, or leave it out: bytes are the tokens"
        )
    from tokenizers import Tokenizer

    try:
        made = Tokenizer.from_file(str(tokenizer))
        made.no_truncation()  # a file may say that texts are cut to the length of some model
        made.no_padding()
    except Exception as error:  # the package raises no type of its own
        raise DataError(f"'{tokenizer}' is no tokenizer: {one_line(error, 120)}", f"expected {_TOKENIZER}") from error
    data = read_bytes(path, _TEXT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not UTF-8 at byte {error.start} (0x{data[error.start]:02x})", "expected UTF-8 text"
        ) from error
    ids = (made.encode(piece, add_special_tokens=False).ids for piece in _pieces(text))
    try:
        return np.fromiter(itertools.chain.from_iterable(ids), np.int64)
    except Exception as error:  # such as a word that the vocabulary lacks, with no token for unknown ones
        told = one_line(error, 120)
        raise DataError(f"'{tokenizer}' cannot read '{path}': {told}", "give the tokenizer of such text") from error


def _tokens(path: str) -> tuple[Array, str, bool]:
    """The tokens that a path stands for, its text file, and whether they are bytes.

    Raises:
        UsageError: It has commas that divide it in no way or in several.
    """
    pair = path_pair(path)
    if pair is not None and what_is(Path(path)) != "file":
        return _tokenized(*pair), str(pair[0]), False
    if "," in path and what_is(Path(path)) != "file":
        raise UsageError(f"data source 'text:{path}' names no file", "give it as text:FILE or text:FILE,TOKENIZER.json")
    return np.frombuffer(read_bytes(Path(path), _TEXT), np.uint8), path, True


def _shape(request: BatchRequest, source: str) -> tuple[int, int]:
    """Sequences and tokens of a request.

    Raises:
        DataError: Its shapes are not one [batch, tokens].
    """
    check_inputs(request, source, ("tokens", "labels"))
    shapes = {tuple(spec.shape) for spec in request.specs}
    if len(shapes) != 1 or any(len(shape) != 2 or not all(shape) for shape in shapes):
        asked = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in request.specs) or "no input"
        raise DataError(f"data source '{source}' cannot fill {asked}", "ask for [batch, tokens] of each")
    batch, length = shapes.pop()
    return batch, length


def _check_fit(request: BatchRequest, tokens: Array, file: str, are_bytes: bool) -> None:
    """Check that the graph has every token.

    Raises:
        DataError: It does not; the first that it lacks is named.
    """
    draws = (request.draws.get(spec.name) for spec in request.specs)
    sizes = [int(draw.high) for draw in draws if draw is not None and draw.kind == "integers"]
    if not sizes or tokens.max() < min(sizes):
        return
    first = int(np.argmax(tokens >= min(sizes)))
    needed = 256 if are_bytes else int(tokens.max()) + 1
    raise DataError(
        f"'{file}' has {'byte' if are_bytes else 'token'} {tokens[first]} at place {first}, and the graph's vocabulary "
        f"has {min(sizes)}",
        f"give it {needed} or more (--set vocabulary={needed})",
    )


def _part(tokens: Array, split: Split) -> Array:
    """The tokens of a part: the last tenth is held out."""
    if split == "all":
        return tokens
    cut = len(tokens) - len(tokens) // HELD_OUT_ONE_IN
    return tokens[cut:] if split == "held-out" else tokens[:cut]


def open_text(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches of ``tokens`` and of ``labels``, the token after each, [batch, tokens].

    Args:
        request: The request.
        path: ``FILE`` or ``FILE,TOKENIZER.json``.

    Raises:
        UsageError: The path has commas that divide it in no way or in several.
        MissingDependencyError: The package ``tokenizers`` is needed and not installed.
        DataError: A file is not what it should be, is too short, or has tokens that the graph does not have.
    """
    source = f"text:{path}"
    batch, length = _shape(request, source)
    tokens, file, are_bytes = _tokens(path)
    part = _part(tokens, request.split)
    count = (len(part) - 1) // length
    if count < 1:
        has = f"{len(part)} {'bytes' if are_bytes else 'tokens'} ({request.split})"
        raise DataError(f"'{file}' has {has}, and a sequence of the graph needs {length + 1}", "give a longer text")
    _check_fit(request, tokens, file, are_bytes)
    return _batches(request, part, count, batch, length)


def _batches(request: BatchRequest, part: Array, count: int, batch: int, length: int) -> Iterator[Batch]:
    indices = endless_shuffle(count, generator(request.seed, "text"))
    while True:
        starts = [index * length for index in itertools.islice(indices, batch)]
        rows = np.stack([part[start : start + length + 1] for start in starts])
        values = {"tokens": rows[:, :-1], "labels": rows[:, 1:]}
        yield {spec.name: values[spec.name].astype(spec.dtype) for spec in request.specs}
