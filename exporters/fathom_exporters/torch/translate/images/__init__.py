"""Operations on images, with one, two or three sides: aten operation to ONNX, forward and backward.

:data:`IMAGES` is the one table, of those of the modules: convolutions, pools, normalisation, resampling, borders,
windows as columns, and sampling at the positions of a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .average_pooling import AVERAGE_POOLING
from .borders import BORDERS
from .convolution import CONVOLUTION
from .max_pooling import MAX_POOLING
from .normalisation import NORMALISATION
from .resampling import RESAMPLING
from .sampling import SAMPLING
from .windows import WINDOWS

__all__ = ["IMAGES"]

IMAGES: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    **CONVOLUTION,
    **MAX_POOLING,
    **AVERAGE_POOLING,
    **NORMALISATION,
    **RESAMPLING,
    **BORDERS,
    **WINDOWS,
    **SAMPLING,
}
"""aten operation on images to the function that writes it in ONNX."""
