"""Arithmetic of windows, sampling, normalisation, losses, transforms and updates: ops with FLOPs but no MACs."""

from __future__ import annotations

import math

from .call import Arithmetic, Call, Formula, NotKnown
from .products import DEQUANTIZE, QUANTIZE

__all__ = [
    "adagrad",
    "adam",
    "affine_grid",
    "all_inputs",
    "attention_gates",
    "batch_norm",
    "biased",
    "crop_and_resize",
    "cross_entropy",
    "dft",
    "dropout",
    "embed_layer_norm",
    "gemma_rotary",
    "grid_sample",
    "group_norm",
    "lrn",
    "mix_streams",
    "momentum",
    "negative_log_likelihood",
    "per_input",
    "per_output",
    "quantized_mean",
    "quantized_window",
    "resize",
    "rfft",
    "roi_align",
    "rotary",
    "scatter",
    "stft",
    "sum_of_inputs",
    "window",
]


def per_output(flops: int) -> Formula:
    """So many FLOPs an element of the first output."""

    def formula(call: Call) -> Arithmetic:
        return 0, flops * call.output_elements()

    return formula


def per_input(flops: int) -> Formula:
    """So many FLOPs an element of the first input."""

    def formula(call: Call) -> Arithmetic:
        return 0, flops * call.elements(0)

    return formula


def all_inputs(call: Call) -> Arithmetic:
    """One FLOP an element of every input."""
    return 0, sum(call.elements(position) for position in range(len(call.node.input)))


def biased(flops: int, *positions: int) -> Formula:
    """So many FLOPs an element of the first output, and one for each of these inputs that is given."""

    def formula(call: Call) -> Arithmetic:
        return 0, (flops + sum(call.has(position) for position in positions)) * call.output_elements()

    return formula


def window(each: int) -> Formula:
    """A pool with so many FLOPs an element of the window; a global pool's window is the whole image."""

    def formula(call: Call) -> Arithmetic:
        """FLOPs = output elements x window elements."""
        kernel = call.integers("kernel_shape")
        if not kernel:
            return 0, each * call.elements(0)
        return 0, each * call.output_elements() * math.prod(kernel)

    return formula


def quantized_window(call: Call) -> Arithmetic:
    """A pool of quantized elements: one addition an element of the window, requantisation an output element."""
    return 0, window(1)(call)[1] + QUANTIZE * call.output_elements()


def quantized_mean(call: Call) -> Arithmetic:
    """Dequantize and add each input element, quantize each output element."""
    return 0, (DEQUANTIZE + 1) * call.elements(0) + QUANTIZE * call.output_elements()


def lrn(call: Call) -> Arithmetic:
    """Square, windowed sum, scale and shift, power, divide."""
    return 0, call.output_elements() * (call.integer("size") + 5)


def scatter(call: Call) -> Arithmetic:
    """One FLOP an update where updates are combined with what is there."""
    return 0, 0 if call.text("reduction", "none") == "none" else call.elements(2)


def sum_of_inputs(call: Call) -> Arithmetic:
    """Elementwise over several inputs: n - 1 FLOPs an element, at least 1."""
    return 0, call.output_elements() * max(1, len(call.node.input) - 1)


def batch_norm(call: Call) -> Arithmetic:
    """2 an element with given statistics (scale and shift), 7 where the statistics are the batch's own."""
    own = bool(call.integer("training_mode", 0)) or call.gives(3)
    return 0, (7 if own else 2) * call.output_elements()


def dropout(call: Call) -> Arithmetic:
    """Nothing at inference; compare and scale an element in training, and what bias and residual add."""
    kind = call.node.op_type
    added = sum(call.has(p) for p in (1, 2)) if "Bias" in kind else 0
    mode = 4 if "Bias" in kind else 2
    training = call.has(mode)
    value = call.value(mode)
    if value is not None:
        training = bool(value.reshape(-1)[0])
    return 0, ((2 if training else 0) + added) * call.output_elements()


def embed_layer_norm(call: Call) -> Arithmetic:
    """The embeddings' sum (segments where they are given) and a layer normalisation, 7 an element.

    The quantized form dequantizes each row that it takes.
    """
    quantized = call.node.op_type == "QEmbedLayerNormalization"
    tables = 2 + call.has(4)
    return 0, call.output_elements() * (tables - 1 + 7 + (DEQUANTIZE * tables if quantized else 0))


def group_norm(call: Call) -> Arithmetic:
    """7 an element; SiLU 5; skip and bias 1 each."""
    active = 5 if call.integer("activation", 0) else 0
    return 0, (7 + active + call.has(3) + call.has(4)) * call.output_elements()


def cross_entropy(call: Call) -> Arithmetic:
    """Log-softmax of the scores (5 an element); pick, weigh and add for each label."""
    return 0, 5 * call.elements(0) + (2 + call.has(2)) * call.elements(1)


def negative_log_likelihood(call: Call) -> Arithmetic:
    """Negate and add for each label, and weigh where weights are given."""
    return 0, (2 + call.has(2)) * call.elements(1)


_TAPS = {"nearest": 0, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
"""Samples that an interpolation takes along an axis; 0 is a plain copy."""


def _taps(mode: str) -> int:
    if mode not in _TAPS:
        raise NotKnown(f"interpolation '{mode}' is in no table")
    return _TAPS[mode]


def resize(call: Call) -> Arithmetic:
    """2 FLOPs a sample: taps ^ (axes whose size changes) samples an output element, none for the nearest."""
    before, after = call.shape(0), call.result()
    taps = _taps(call.text("mode", "nearest"))
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    return 0, 2 * taps**changed * math.prod(after) if taps and changed else 0


def grid_sample(call: Call) -> Arithmetic:
    """2 FLOPs a sample: taps ^ (spatial axes) samples an output element, none for the nearest."""
    shape = call.result()
    taps = _taps(call.text("mode", "linear"))
    return 0, 2 * taps ** (len(shape) - 2) * math.prod(shape) if taps else 0


def crop_and_resize(call: Call) -> Arithmetic:
    """8 FLOPs an output element, none for the nearest."""
    taps = _taps(call.text("mode", "bilinear"))
    return 0, 2 * taps**2 * call.output_elements()


def roi_align(call: Call) -> Arithmetic:
    """Samples of 8 FLOPs and an addition each, a fixed number of them an output element."""
    ratio = call.integer("sampling_ratio", 0)
    if ratio == 0:
        raise NotKnown("how many samples a region takes depends on its size, which is data")
    return 0, 9 * ratio * ratio * call.output_elements()


def affine_grid(call: Call) -> Arithmetic:
    """MACs = points x d x (d + 1): a matrix times each point of the grid."""
    macs = call.output_elements() * call.shape(0)[-1]
    return macs, 2 * macs


def rotary(cosines: int) -> Formula:
    """3 FLOPs a rotated element: two products and a sum. The cosines' table is this input."""

    def formula(call: Call) -> Arithmetic:
        part = call.integer("rotary_embedding_dim", 0)
        shape = call.shape(0)
        if not part:
            return 0, 3 * call.output_elements()
        heads = call.integer("num_heads", 0)
        size = shape[-1] if len(shape) == 4 else shape[-1] // heads if heads else 2 * call.shape(cosines)[-1]
        return 0, 3 * call.output_elements() * part // size

    return formula


def gemma_rotary(call: Call) -> Arithmetic:
    """Sine and cosine of each angle; two products and a sum an element of both outputs."""
    return 0, 2 * call.elements(0) + 3 * (call.output_elements() + call.output_elements(1))


def attention_gates(call: Call) -> Arithmetic:
    """Decay: add, softplus, multiply (5 an element); update rate: a sigmoid (4)."""
    return 0, 5 * call.output_elements() + (4 * call.output_elements(1) if call.gives(1) else 0)


def mix_streams(call: Call) -> Arithmetic:
    """A multiply-add an element of the streams; afterwards C of them for each of the C streams, and the new branch."""
    if call.node.op_type == "HyperConnectionPreMix":
        return 0, 2 * call.elements(0)
    branches = call.integer("num_branches", 0) or call.shape(0)[-2]
    return 0, call.output_elements() * (2 + (2 * branches if call.has(3) else 0))


def _fft(count: int, size: int) -> int:
    """5 N log2 N FLOPs a transform, the usual measure of complex transforms, whatever the algorithm."""
    return math.ceil(count * 5 * size * math.log2(size)) if size > 1 else 0


def dft(call: Call) -> Arithmetic:
    """5 N log2 N a transform (Frigo and Johnson, Proc. IEEE 93, 2005, section III)."""
    shape = call.shape(0)
    axis = call.integer("axis", 1) if "axis" in call.attributes else -2 if len(shape) > 1 else 0
    if call.has(2):
        given = call.value(2)
        if given is None:
            raise NotKnown("the axis is data")
        axis = int(given.reshape(-1)[0])
    size = shape[axis]
    if call.has(1):
        length = call.value(1)
        if length is None:
            raise NotKnown("the length of the transform is data")
        size = int(length.reshape(-1)[0])
    if not shape[axis]:
        return 0, 0
    return 0, _fft(math.prod(shape) // shape[axis] // shape[-1], size)


def rfft(call: Call) -> Arithmetic:
    """5 N log2 N a transform over the last axes, as many as ``signal_ndim``."""
    shape = call.shape(0) if call.node.op_type == "Rfft" else call.result()
    axes = call.integer("signal_ndim")
    size = math.prod(shape[len(shape) - axes :])
    return 0, _fft(math.prod(shape[: len(shape) - axes]), size)


def stft(call: Call) -> Arithmetic:
    """A window and a transform of 5 N log2 N a frame."""
    batch, frames = call.result()[:2]
    if call.has(2):
        size = call.shape(2)[0]
    else:
        length = call.value(3)
        if call.has(3) and length is None:
            raise NotKnown("the length of a frame is data")
        size = int(length.reshape(-1)[0]) if length is not None else call.shape(0)[1]
    return 0, batch * frames * (size if call.has(2) else 0) + _fft(batch * frames, size)


def _updated(call: Call, slots: int) -> int:
    """Elements of the updated tensors: inputs are rate, step, then so many groups of equal length."""
    count = (len(call.node.input) - 2) // slots
    return sum(call.elements(2 + position) for position in range(count))


def adagrad(call: Call) -> Arithmetic:
    """Regularise 2, accumulate the square 2, root and epsilon 2, update 3 an element."""
    return 0, 9 * _updated(call, 3)


def adam(call: Call) -> Arithmetic:
    """Regularise 2, both moments 3 and 4, root and epsilon 2, update 3, and regularise after it 1 an element."""
    return 0, 15 * _updated(call, 4)


def momentum(call: Call) -> Arithmetic:
    """Regularise 2, momentum 3, update 2 an element."""
    return 0, 7 * _updated(call, 3)
