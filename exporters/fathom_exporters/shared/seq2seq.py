"""What seq2seq's models share: how its steps are unrolled, and the sampled softmax.

**Unrolling.** Between steps everything is a matrix whose rows are the batch (B). What does not depend on earlier steps
is computed for all of them at once, with time-major rows, [steps * B, ...], and then split into one matrix a step.

**Sampled softmax.** :mod:`fathom_onnx.workloads.suite2016.seq2seq` defines it. The expected count of a class,
``samples * log(1 + 1/n) / log(vocabulary + 1)`` with ``n = class + 1``, is computed by Kahan's formula:
``log(1 + 1/n) = log(u) / ((u - 1) n)`` with ``u = 1 + 1/n``. u has lost the low digits of 1/n; the quotient restores
them.
"""

from __future__ import annotations

import math

__all__ = ["ACCIDENTAL_HIT", "expected_count_scale"]

ACCIDENTAL_HIT = -1e9
"""The logit of an accidental hit: its exponential is 0."""


def expected_count_scale(samples: int, vocabulary: int) -> float:
    """What ``log(1 + 1/n)`` is multiplied by for the expected count of a class."""
    return samples / math.log(vocabulary + 1)
