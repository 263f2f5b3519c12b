"""Uses as an index within an axis, and as a number of its elements."""

from __future__ import annotations

from collections.abc import Iterator

from .findings import Finding, Pass
from .use import Rule, Use

__all__ = ["INDEX_RULES"]


def _index(data: int, axis: str | int, default: int = 0, what: str = "") -> Rule:
    """An index along an axis of the node's input ``data``; ``axis`` is a number or the attribute that holds it."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        along = axis if isinstance(axis, int) else use.site.number(axis, default)
        size = use.flow.size(use.site.input(data), along)
        why = f"{what or ('rows' if along == 0 else 'index')} of {use.site.label}"
        if size:
            yield from use.within("index", 0, size - 1, why)
        elif size is None:
            yield Finding("index", why, use.reach)

    return rule


def _columns(data: int, indices: int) -> Rule:
    """Rows of indices into the first axes, as ScatterND and GatherND take them."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        skipped = use.site.number("batch_dims", 0)
        shape, count = use.flow.shape(use.site.input(data)), use.flow.size(use.site.input(indices), -1)
        why = f"index of {use.site.label}"
        if shape is None or count is None:
            yield Finding("index", why, use.reach)
            return
        sizes = shape[skipped : skipped + count]
        if not sizes or min(sizes) < 1:
            return
        plain = use.reach.whole and (use.reach.scale, use.reach.low, use.reach.high) == (1.0, 0.0, 0.0)
        if plain:
            ends = tuple(size - 1 for size in sizes)
            yield Finding("index", why, use.reach, 0, min(ends), columns=ends)
        else:
            yield from use.within("index", 0, min(sizes) - 1, why)

    return rule


def _length(data: int, axis: int) -> Rule:
    """A number of elements along an axis of the node's input ``data``."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        size = use.flow.size(use.site.input(data), axis)
        if size:
            yield from use.within("length", 1, size, f"lengths of {use.site.label}")

    return rule


def _recurrent_length(use: Use) -> Iterator[Finding | Pass]:
    yield from _length(0, 1 if use.site.number("layout", 0) else 0)(use)


def _reverse_length(use: Use) -> Iterator[Finding | Pass]:
    yield from _length(0, use.site.number("time_axis", 0))(use)


def _one_hot(use: Use) -> Iterator[Finding | Pass]:
    depth = use.flow.constant(use.site.input(1))
    size = int(depth.ravel()[0]) if depth is not None and depth.size else None
    if size is None:
        size = use.flow.size(use.site.outputs[0], use.site.number("axis", -1))
    if size:
        yield from use.within("index", 0, size - 1, f"depth of {use.site.label}")


def _pooled(use: Use) -> Iterator[Finding | Pass]:
    tensor = use.flow.tensor(use.site.outputs[0])
    if tensor is not None and tensor.elements:
        yield from use.within("index", 0, tensor.elements - 1, f"index of {use.site.label}")


def _cache_write(use: Use) -> Iterator[Finding | Pass]:
    """Where a window of new rows is written into a cache."""
    axis = use.site.number("axis", -2)
    whole, new = (use.flow.size(use.site.input(n), axis) for n in (0, 1))
    if whole and new and new <= whole:
        yield from use.within("index", 0, whole - new, f"rows of {use.site.label}")


def _rotary(positions: int, cache: int) -> Rule:
    """Positions in a table of cosines; one alone is the first of as many as there are elements."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        size = use.flow.size(use.site.input(cache), 0)
        if use.elements == 1 and size:
            size = max(1, size - (use.flow.size(use.site.input(0), -2) or 1) + 1)
        if size:
            yield from use.within("index", 0, size - 1, f"rows of {use.site.label}")

    return rule


def _key_length(less: int) -> Rule:
    """Length of the keys of a grouped attention, the past included: as many as there are new ones, where known."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        new, past = use.flow.size(use.site.input(0), 1), use.flow.size(use.site.input(3), 2)
        if new:
            length = max(new, past or 0) - less
            yield from use.within("length", length, length, f"length of the keys of {use.site.label}", length)

    return rule


def _element(use: Use) -> Iterator[Finding | Pass]:
    """The position in a sequence, of whose length nothing is known but that it has a first tensor."""
    yield from use.within("index", 0, 0, f"position in the sequence of {use.site.label}")


_MS = "com.microsoft"

INDEX_RULES: dict[tuple[str, int], Rule] = {
    ("Gather", 1): _index(0, "axis"),
    ("GatherElements", 1): _index(0, "axis"),
    ("GatherND", 1): _columns(0, 1),
    ("Scatter", 1): _index(0, "axis"),
    ("ScatterElements", 1): _index(0, "axis"),
    ("ScatterND", 1): _columns(0, 1),
    ("TensorScatter", 2): _cache_write,
    ("OneHot", 0): _one_hot,
    ("MaxUnpool", 1): _pooled,
    ("RoiAlign", 2): _index(0, 0, what="images"),
    ("NegativeLogLikelihoodLoss", 1): _index(0, 1, what="classes"),
    ("SoftmaxCrossEntropyLoss", 1): _index(0, 1, what="classes"),
    ("ReverseSequence", 1): _reverse_length,
    ("RNN", 4): _recurrent_length,
    ("GRU", 4): _recurrent_length,
    ("LSTM", 4): _recurrent_length,
    ("RotaryEmbedding", 3): _rotary(3, 1),
    ("SequenceAt", 1): _element,
    ("SequenceErase", 1): _element,
    ("SequenceInsert", 2): _element,
    ("ai.onnx.ml.ArrayFeatureExtractor", 1): _index(0, -1, what="features"),
    (f"{_MS}.EmbedLayerNormalization", 0): _index(2, 0, what="words"),
    (f"{_MS}.EmbedLayerNormalization", 1): _index(4, 0, what="segments"),
    (f"{_MS}.EmbedLayerNormalization", 8): _index(3, 0, what="positions"),
    (f"{_MS}.QEmbedLayerNormalization", 0): _index(2, 0, what="words"),
    (f"{_MS}.QEmbedLayerNormalization", 1): _index(4, 0, what="segments"),
    (f"{_MS}.GatherBlockQuantized", 1): _index(0, "gather_axis"),
    (f"{_MS}.GatherND", 1): _columns(0, 1),
    (f"{_MS}.RotaryEmbedding", 1): _rotary(1, 2),
    (f"{_MS}.GroupQueryAttention", 5): _key_length(1),
    (f"{_MS}.GroupQueryAttention", 6): _key_length(0),
}
"""Op type and position to what an index or a length there says."""
