"""Changes of bytes, which know nothing of the format."""

from __future__ import annotations

import random

__all__ = ["damaged"]

_PIECES = (
    b"\x00",
    b"\xff",
    b"\x80" * 9 + b"\x01",
    b"\n",
    b'"',
    b"{",
    b"]",
    b"-1",
    b"1e999",
    b"nan",
    b"=",
    b"\xef\xbb\xbf",
)


def damaged(seed: bytes, other: bytes, chosen: random.Random) -> bytes:
    """A file with one to eight changes: bits flipped, bytes set, stretches cut, repeated, moved or from another file.

    Args:
        seed: The file.
        other: The other one.
        chosen: Random numbers.
    """
    data = bytearray(seed)
    for _ in range(chosen.choice((1, 1, 2, 4, 8))):
        place = chosen.randrange(len(data) + 1)
        length = chosen.choice((1, 1, 2, 4, 8, 64, 512))
        what = chosen.randrange(7)
        if what == 0 and data:
            data[place % len(data)] ^= 1 << chosen.randrange(8)
        elif what == 1 and data:
            data[place % len(data)] = chosen.randrange(256)
        elif what == 2:
            del data[place : place + length]
        elif what == 3:
            data[place:place] = data[place : place + length]
        elif what == 4:
            data[place:place] = chosen.choice(_PIECES)
        elif what == 5:
            start = chosen.randrange(len(other) + 1)
            data[place : place + length] = other[start : start + length]
        else:
            del data[place:]
        del data[200_000:]
    return bytes(data)
