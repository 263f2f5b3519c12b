"""The two parts of a corpus that is published in one: training and held-out."""

from __future__ import annotations

import zlib

import numpy as np

from fathom_onnx.data.contract import Split
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["HELD_OUT_ONE_IN", "in_part", "is_held_out", "part_of"]

HELD_OUT_ONE_IN = 10
"""One record in so many is held out, where a corpus has no held-out part of its own."""


def is_held_out(content: bytes) -> bool:
    """Whether a record with this content is held out: by a hash of it, so that equal records are in the same part."""
    return zlib.crc32(content) % HELD_OUT_ONE_IN == 0


def in_part(content: bytes, split: Split) -> bool:
    """Whether a record with this content is in a part."""
    return split == "all" or is_held_out(content) == (split == "held-out")


def part_of(records: Array, split: Split, origin: str) -> Array:
    """Indices of the records in a part, int64.

    Args:
        records: Records along the first axis.
        split: The part.
        origin: Where they are from, for the error.

    Raises:
        DataError: None of them is.
    """
    chosen = [index for index, record in enumerate(records) if in_part(record.tobytes(), split)]
    if not chosen:
        raise DataError(
            f"none of the {len(records)} records of {origin} is in the {split} part",
            f"give more data: one record in {HELD_OUT_ONE_IN} is held out, chosen by its content",
        )
    return np.asarray(chosen)
