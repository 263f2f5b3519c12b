"""Recurrent layers: for every direction, a product for the inputs of all time steps, and one with the state a step."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from fathom_onnx.analysis.cost.call import Call

from .product import MatrixProduct

__all__ = ["recurrent"]


def recurrent(call: Call) -> tuple[MatrixProduct, ...]:
    """LSTM, GRU and RNN, in one direction or both.

    Where the lengths of the sequences are known, a time step has as many rows as there are sequences that long.
    """
    first, second, inner = call.matrix(0, 3)
    batch, steps = (first, second) if call.integer("layout", 0) else (second, first)
    weights, state = call.matrix(1, 3), call.matrix(2, 3)
    directions, columns = weights[0], math.prod(weights[1:]) // inner if inner else 0
    known = call.value(4)
    if known is None:
        rows, running = steps * batch, Counter({batch: steps})
    else:
        lengths = known.astype(np.int64)
        rows = int(lengths.sum())
        running = Counter(int((lengths > step).sum()) for step in range(int(lengths.max(initial=0))))
    hidden = math.prod(state[1:]) // columns if columns else 0
    return (
        MatrixProduct(rows, columns, inner, directions),
        *(MatrixProduct(size, columns, hidden, directions * count) for size, count in running.items()),
    )
