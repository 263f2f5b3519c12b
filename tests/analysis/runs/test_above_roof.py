"""What lies above the roof: each explanation by numbers, and faults that are planted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fathom_onnx.analysis.runs.above_roof import ABOVE_COLUMNS, above_roof
from fathom_onnx.analysis.runs.run import COST_COLUMNS, NODE_COLUMNS, Run
from fathom_onnx.runtime.ceilings import Ceilings, Sample

# 100 GFLOP/s, 10 GB/s, and 40 GB/s where no more than 1 MB is moved: 100,000 FLOPs and 10,000 bytes a microsecond
CEILINGS = Ceilings(
    100.0,
    10.0,
    (Sample("MatMul", 64, 1.0, 3, 10**11, "float32", "float32 x float32"),),
    (Sample("Relu", 64, 1.0, 3, 10**10),),
    {},
    in_cache=(Sample("Relu", 64, 1e6 / 40e9, 3, 10**6, "", "in place"),),
)


def found(
    us: float,
    flops: float,
    moved: float,
    *,
    calls: float = 1.0,
    floor: tuple[float, float | None] | None = None,
    device: bool = False,
    ceilings: Ceilings = CEILINGS,
) -> list[dict[str, Any]]:
    """What is found of one node."""
    node = dict.fromkeys((*NODE_COLUMNS, *COST_COLUMNS), "") | {
        **{"name": "n", "op_type": "Op", "layer": "l", "median_us": us, "calls": calls},
    }
    samples = np.zeros((1, 1), np.float64 if device else np.int64)
    facts = {"us": floor[0], "low_us": floor[1], "high_us": None, "executions": 9.0} if floor else None
    run = Run({"floor": facts}, pd.DataFrame([node]), pd.DataFrame(), pd.DataFrame(), samples, pd.DataFrame())
    work = pd.DataFrame(
        [
            {
                **{"executed": 0, "us": us, "bytes": moved, "compute_type": "float32"},
                **{"compute_us": flops / 1e5, "memory_us": moved / 1e4},
            }
        ]
    )
    table = above_roof(run, work, ceilings)
    assert tuple(table.columns) == ABOVE_COLUMNS
    return table.to_dict("records")


def explanation(*arguments: float, **options: Any) -> str:
    (row,) = found(*arguments, **options)
    return str(row["explanation"])


def test_what_is_at_the_roof_is_not_above_it() -> None:
    assert found(100, 1e7, 1e6) == []
    assert found(100, 1.049e7, 0) == []


def test_faster_than_arithmetic_is_never_explained() -> None:
    (row,) = found(100, 2.2e7, 1e5)
    assert (row["share"], row["bound"], row["explanation"]) == (pytest.approx(2.2), "compute", "unexplained")
    assert row["why"] == "computes 2.20 times as fast as the best float32 product"
    # a cache explains its memory, and not its arithmetic
    assert explanation(100, 2.2e7, 3e6) == "unexplained"


def test_what_fits_a_cache_is_explained_as_fast_as_a_copy_there() -> None:
    (row,) = found(40, 0, 1e6)  # 25 GB/s
    assert row["explanation"] == "cache"
    assert row["why"] == "moves 1 MB at 25.0 GB/s; in a cache a copy of that reached 40.0"
    assert explanation(20, 0, 1e6) == "unexplained"  # 50 GB/s
    assert explanation(76, 0, 1.9e6) == "cache"  # between this copy and the next
    assert explanation(80, 0, 2e6) == "unexplained"  # 25 GB/s, of more than any copy in a cache
    assert explanation(80, 0, 2e6, calls=2) == "cache"
    (row,) = found(40, 0, 1e6, ceilings=replace(CEILINGS, in_cache=(), copies=()))
    assert row["why"] == "moves 1 MB at 25.0 GB/s; no copy in a cache was measured"


def test_times_below_the_floor_are_noise_and_whole_microseconds_are_rounded_down() -> None:
    assert explanation(3, 1e6, 0, floor=(5.0, 4.0)) == "floor"
    assert explanation(12, 6e6, 0, calls=4, floor=(5.0, 4.0)) == "floor"
    assert explanation(4, 1e6, 0, floor=(5.0, 4.0)) == "unexplained"
    assert explanation(4, 1e6, 0, floor=(5.0, None)) == "floor"
    # a floor of milliseconds was estimated while something else ran: no node of milliseconds is noise
    assert explanation(2500, 5e8, 0, floor=(9000.0, 4000.0)) == "unexplained"
    # 9 us in which 10 are at the roof: it may have taken 9.99
    assert explanation(9, 1e6, 0) == "rounding"
    assert explanation(9, 1e6, 0, device=True) == "unexplained"
    assert explanation(90, 1.2e7, 0, calls=30) == "rounding"
    assert explanation(90, 1.2e7, 0, calls=3) == "unexplained"
