"""Operations on images with one, two or three sides, forward and backward.

ONNX has images [N, C, *size] and filters [O, I, *kernel], TensorFlow's usual layouts are [N, *size, C] and
[*kernel, I, O]. Handlers are written for the first; :func:`~.channels.channels_first` transposes around them what is in
the second. Which of these transposes are needed is decided for the whole graph, by
:mod:`fathom_exporters.tensorflow.translate.layout`.
"""

from __future__ import annotations

from fathom_exporters.tensorflow.translate.emit import Handler

from .convolution import CONVOLUTION
from .normalisation import NORMALISATION
from .pooling import POOLING
from .resampling import RESAMPLING

__all__ = ["IMAGES"]

IMAGES: dict[str, Handler] = {**CONVOLUTION, **NORMALISATION, **POOLING, **RESAMPLING}
"""TensorFlow operation on images to its handler."""
