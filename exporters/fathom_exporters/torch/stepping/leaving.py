"""A module's own attributes, left as they were: what a step keeps in them is of the step, not of the user's object.

Modules keep tensors outside of their buffers: a mask made once for a length, a hidden state, what a hook saw. Those of
a recording have no values, and those of one recording are of no use to the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

__all__ = ["attributes_kept"]


def _content(container: Any) -> list[Any]:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _same(container: Any, content: list[Any]) -> bool:
    """Whether a container holds the very objects that it held."""
    now = _content(container)
    parts = [(a, b) if isinstance(container, dict) else ((a,), (b,)) for a, b in zip(now, content, strict=False)]
    return len(now) == len(content) and all(x is y for a, b in parts for x, y in zip(a, b, strict=True))


def _put_back(container: Any, content: list[Any]) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)


@contextlib.contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards, every module has the attributes that it had, and its lists, dicts and sets what they held."""
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    held = [
        (value, _content(value)) for _, own in before for value in own.values() if isinstance(value, list | dict | set)
    ]
    try:
        yield
    finally:
        for container, content in held:
            if not _same(container, content):
                _put_back(container, content)
        for module, own in before:
            module.__dict__.clear()
            module.__dict__.update(own)
