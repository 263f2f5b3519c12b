"""Uses of strings, and of numbers that stand for classes: the words and keys that a graph knows."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import Finding, Pass
from .use import Rule, Use

__all__ = ["WORD_RULES"]

_ML = "ai.onnx.ml"
_MS = "com.microsoft"


def _known(*attributes: str) -> Rule:
    """Words or numbers in the attributes of a node."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        for name in attributes:
            value = use.site.attribute(name)
            if isinstance(value, list | tuple) and value:
                if isinstance(value[0], bytes):
                    words = tuple(dict.fromkeys(word.decode("utf-8", "replace") for word in value))
                    yield Finding("words", f"what {use.site.label} knows", use.reach, values=words)
                else:
                    yield Finding("values", use.site.label, use.reach, values=tuple(dict.fromkeys(value)))

    return rule


def _tensor_keys(use: Use) -> Iterator[Finding | Pass]:
    yield from _known("keys_strings", "keys_int64s")(use)
    keys = use.site.attribute("keys_tensor")
    if keys is not None:
        from onnx import numpy_helper

        values = numpy_helper.to_array(keys)  # type: ignore[arg-type]  # the attribute holds a tensor
        if values.dtype.kind == "O":
            words = tuple(w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in values.ravel())
            yield Finding("words", f"what {use.site.label} knows", use.reach, values=words)
        elif values.dtype.kind in "iu":
            yield Finding("values", use.site.label, use.reach, values=tuple(int(v) for v in values.ravel()))


def _split(attribute: str) -> Rule:
    """Strings that are cut into words; the words go on."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        value = use.site.attribute(attribute)
        signs = value if isinstance(value, list | tuple) else [value]
        found = [sign.decode("utf-8", "replace") for sign in signs if isinstance(sign, bytes)]
        # an empty separator cuts between all characters
        between = next((sign for sign in found if sign), " ")
        yield Finding("separator", f"cut into words by {use.site.label}", use.reach, values=(between,))
        yield from use.on(use.reach.lost())

    return rule


def _read_as_number(use: Use) -> Iterator[Finding | Pass]:
    if use.text in ("object", "str"):
        yield Finding("words", f"numbers for {use.site.label}", use.reach, values=tuple("0123456789"))


WORD_RULES: dict[tuple[str, int], Rule] = {
    ("TfIdfVectorizer", 0): _known("pool_strings", "pool_int64s"),
    (f"{_ML}.LabelEncoder", 0): _tensor_keys,
    (f"{_ML}.CategoryMapper", 0): _known("cats_strings", "cats_int64s"),
    (f"{_ML}.OneHotEncoder", 0): _known("cats_strings", "cats_int64s"),
    ("StringSplit", 0): _split("delimiter"),
    (f"{_MS}.Tokenizer", 0): _split("separators"),
    ("Cast", 0): _read_as_number,
}
"""Op type and position to what a word or a class there says."""
