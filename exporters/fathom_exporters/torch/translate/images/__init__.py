"""Operations on images, with one, two or three sides: aten operation to ONNX, forward and backward.

:data:`IMAGES` is the one table, of those of the modules: convolutions, pools, normalisation, resampling, borders,
windows as columns, and sampling at the positions of a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .borders import BORDERS
from .convolution import CONVOLUTION
from .normalisation import NORMALISATION
from .pooling import POOLING
from .resampling import RESAMPLING
from .sampling import SAMPLING
from .windows import WINDOWS

__all__ = ["IMAGES"]

IMAGES: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    **CONVOLUTION,
    **POOLING,
    **NORMALISATION,
    **RESAMPLING,
    **BORDERS,
    **WINDOWS,
    **SAMPLING,
}
"""aten operation on images to the function that writes it in ONNX."""
