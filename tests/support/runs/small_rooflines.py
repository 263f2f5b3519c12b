"""Hand-made rooflines for tests of reports and study pages."""

from __future__ import annotations

import pandas as pd

from fathom_onnx.analysis.runs.above_roof import ABOVE_COLUMNS
from fathom_onnx.analysis.runs.roofline import COLUMNS, LEFT_OUT_COLUMNS, Roofline

Row = tuple[str, float, float, float, float, str]


def roofline(by: str, *rows: Row, left_out: float = 0.0) -> Roofline:
    """A roofline under 100 GFLOP/s and 10 GB/s from rows of (name, us, FLOPs, bytes, time at the roof, bound)."""
    table = pd.DataFrame(
        [
            (
                n,
                1,
                us,
                f,
                b,
                f / b if b else float("nan"),
                f / us / 1e3,
                b / us / 1e3,
                roof,
                roof / us,
                bound,
                "float32",
            )
            for n, us, f, b, roof, bound in rows
        ],
        columns=list(COLUMNS),
    )
    rest = pd.DataFrame([("n", "Magic", left_out, "why")] if left_out else [], columns=list(LEFT_OUT_COLUMNS))
    return Roofline(table, rest, {"float32": 100.0}, 10.0, by, 0, pd.DataFrame(columns=list(ABOVE_COLUMNS)), {})


ROWS: tuple[Row, ...] = (
    ("conv1", 60.0, 3e6, 1e5, 30.0, "compute"),
    ("fc", 30.0, 1e5, 1e5, 10.0, "memory"),
    ("flat", 5.0, 0.0, 0.0, 0.0, "none"),
)
ROOFS = {by: roofline(by, *ROWS, left_out=5.0) for by in ("node", "layer", "op")}
