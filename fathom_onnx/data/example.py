"""The example batch of a recipe, the same in every step: what a user's own model is fed with."""

from __future__ import annotations

from collections.abc import Iterator

from .contract import Batch, BatchRequest, check_inputs

__all__ = ["open_example"]


def open_example(request: BatchRequest) -> Iterator[Batch]:
    """The example batch, endlessly.

    Raises:
        DataError: It has no such input.
    """
    check_inputs(request, "example", list(request.examples))
    while True:
        yield {spec.name: request.examples[spec.name] for spec in request.specs}
