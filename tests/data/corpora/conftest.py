"""Requests as a graph makes them, and what a reader makes of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fathom_onnx.data import batches
from fathom_onnx.data.contract import Split
from fathom_onnx.workloads.contract import Draw


@dataclass(frozen=True)
class Requested:
    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@pytest.fixture
def read() -> Callable[..., dict[str, np.ndarray]]:
    """The first ``count`` batches of a corpus, joined along their first axis."""

    def call(
        named: object,
        *specs: tuple[Any, ...],
        split: Split = "all",
        count: int = 1,
        seed: int = 0,
        draws: dict[str, int] | None = None,
        remarks: list[str] | None = None,
    ) -> dict[str, np.ndarray]:
        wanted = [Requested(*spec) for spec in specs]
        ids = {name: Draw("integers", 0, size) for name, size in (draws or {}).items()}
        said = [] if remarks is None else remarks
        stream = batches(str(named), wanted, seed, ids, split=split, remark=said.append)
        taken = list(itertools.islice(stream, count))
        return {spec.name: np.concatenate([batch[spec.name] for batch in taken]) for spec in wanted}

    return call
