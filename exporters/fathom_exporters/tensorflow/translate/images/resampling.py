"""Images in another size, and pixels rearranged with channels, forward and backward.

A resampling is a product with one constant matrix along each side, and its gradient one with the transposed matrices.
The matrices are TensorFlow's own: what it makes of the unit vectors of a side. Forward, what Resize does to the same
numbers is a Resize, which simulators and runtimes know.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fathom_exporters.tensorflow.translate.emit import Emit, Handler

from .channels import channels_first
from .separable import Matrix, along_sides

__all__ = ["RESAMPLING"]

_RAW: dict[str, Any] = {
    "Bilinear": tf.raw_ops.ResizeBilinear,
    "NearestNeighbor": tf.raw_ops.ResizeNearestNeighbor,
    "Bicubic": tf.raw_ops.ResizeBicubic,
    "Area": tf.raw_ops.ResizeArea,
}
_OPTIONS = ("align_corners", "half_pixel_centers")


def _kind(e: Emit) -> str:
    return e.type.removeprefix("Resize").removesuffix("Grad")


def _matrices(e: Emit, source: list[int], target: list[int]) -> list[Matrix]:
    """What each side, of ``source`` elements, is multiplied by to have ``target``."""
    options = {name: bool(e.attribute(name, False)) for name in _OPTIONS if e.attribute(name) is not None}
    matrices = []
    for old, new in zip(source, target, strict=True):
        units = np.eye(old, dtype=np.float32).reshape(1, old, 1, old)
        made = _RAW[_kind(e)](images=units, size=[new, 1], **options)
        matrices.append(np.asarray(made, np.float64).reshape(new, old))
    return matrices


def _is_repetition(matrix: Matrix) -> bool:
    """Whether each element comes a number of times, one after the other."""
    new, old = matrix.shape
    return new % old == 0 and bool((matrix == np.repeat(np.eye(old), new // old, axis=0)).all())


def _resize_attributes(e: Emit, matrices: list[Matrix]) -> dict[str, str] | None:
    """The attributes of the Resize that does the same, if there is one."""
    if _kind(e) == "Bilinear":
        mode = "align_corners" if e.attribute("align_corners") else "asymmetric"
        mode = "half_pixel" if e.attribute("half_pixel_centers") else mode
        return {"mode": "linear", "coordinate_transformation_mode": mode}
    if all(_is_repetition(matrix) for matrix in matrices):
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return None


def resize(e: Emit) -> None:
    """ResizeBilinear(x, size) and the like."""
    x, shape = e.inputs[0], e.output_shape
    matrices = _matrices(e, e.shape(x)[2:], shape[2:])
    attributes = _resize_attributes(e, matrices)
    x = e.cast(x, e.output_dtype)
    if attributes is not None:
        e.replace("Resize", x, "", "", e.ints(shape), **attributes)
    elif _kind(e) == "NearestNeighbor":
        for axis, matrix in enumerate(matrices, 2):
            old = e.shape(x)
            x = e.op("Gather", x, e.ints(matrix.argmax(1).tolist()), axis=axis,
                     shape=[*old[:axis], len(matrix), *old[axis + 1 :]])  # fmt: skip
        e.become(x)
    else:
        e.become(along_sides(e, x, matrices))


def _block_sums(e: Emit, dy: str, shape: list[int]) -> str:
    """The sums of ``dy`` over the blocks of pixels that each of the image's is repeated to."""
    apart = list(shape[:2])
    for old, new in zip(shape[2:], e.shape(dy)[2:], strict=True):
        apart += [old, new // old]
    blocks = e.reshape(dy, apart)
    return e.op("ReduceSum", blocks, e.ints([3, 5]), keepdims=0, shape=shape)


def resize_grad(e: Emit) -> None:
    """ResizeBilinearGrad(dy, image or its size) -> dx."""
    dy, shape = e.inputs[0], e.output_shape
    matrices = _matrices(e, shape[2:], e.shape(dy)[2:])
    if all(_is_repetition(matrix) for matrix in matrices):
        e.become(_block_sums(e, dy, shape))
        return
    e.become(along_sides(e, dy, [matrix.T for matrix in matrices]))


def depth_to_space(e: Emit) -> None:
    """DepthToSpace(x): channels into blocks of pixels."""
    x, size = e.inputs[0], int(e.attribute("block_size"))
    e.replace("DepthToSpace", x, blocksize=size, mode="DCR")


def space_to_depth(e: Emit) -> None:
    """SpaceToDepth(x): blocks of pixels into channels."""
    e.replace("SpaceToDepth", e.inputs[0], blocksize=int(e.attribute("block_size")))


RESAMPLING: dict[str, Handler] = {
    **{f"Resize{kind}": channels_first(resize, [0], [0], always=True) for kind in _RAW},
    **{f"Resize{kind}Grad": channels_first(resize_grad, [0], [0], always=True) for kind in _RAW if kind != "Area"},
    "DepthToSpace": channels_first(depth_to_space, [0], [0]),
    "SpaceToDepth": channels_first(space_to_depth, [0], [0]),
}
"""TensorFlow operation to its handler."""
