"""The numbers that the paper reports: its Figure 3.

R. Adolf, S. Rama, B. Reagen, G.-Y. Wei, D. Brooks, "Fathom: Reference Workloads for Modern Deep Learning Methods", IEEE
International Symposium on Workload Characterization (IISWC), 2016, arXiv:1608.06581. TensorFlow, training, one CPU.
"""

from __future__ import annotations

import pandas as pd

from fathom_onnx.vocabulary import OPS

__all__ = ["FIGURE_3", "LEFT_OUT_BELOW", "figure_3"]

LEFT_OUT_BELOW = 0.01
"""Share of time below which Figure 3 does not print an op, so that its rows sum to 93 to 99 percent."""

FIGURE_3: dict[str, dict[str, int]] = {
    "seq2seq": {"Add": 3, "Sub": 2, "Mul": 35, "MatMul": 32, "Sum": 2, "Transpose": 3, "Tile": 20, "Pad": 1},
    "memnet": {
        **{"Add": 2, "Sub": 1, "Mul": 33, "Div": 1, "Softmax": 4, "MatMul": 12, "CrossEntropy": 2, "Sum": 9},
        **{"ApplyAdam": 5, "Transpose": 9, "Tile": 13, "Reshape": 1, "Shape": 1},
    },
    "speech": {"MatMul": 89, "Tile": 7, "Select": 3},
    "autoenc": {
        **{"Add": 3, "Mul": 6, "Pow": 5, "MatMul": 58, "Sum": 2, "RandomNormal": 5, "ApplyAdam": 8, "Tile": 9},
    },
    "residual": {"Conv2D": 33, "Conv2DBackFilter": 34, "Conv2DBackInput": 32},
    "vgg": {"Conv2D": 35, "Conv2DBackFilter": 31, "Conv2DBackInput": 30, "ApplyAdam": 2},
    "alexnet": {"MatMul": 7, "MaxPoolGrad": 3, "Conv2D": 31, "Conv2DBackFilter": 26, "Conv2DBackInput": 31},
    "deepq": {"MatMul": 11, "Conv2D": 33, "Conv2DBackFilter": 27, "Conv2DBackInput": 20, "ApplyRMSProp": 7},
}
"""Workload to op to percent of a training step's time, as printed."""


def figure_3() -> pd.DataFrame:
    """Figure 3 as shares (0 to 1): one row a workload, one column an op that it prints; a row sums to 0.93 to 0.99."""
    columns = [name for name, op in OPS.items() if op.in_paper]
    return pd.DataFrame.from_dict(FIGURE_3, orient="index").reindex(columns=columns).fillna(0.0) / 100
