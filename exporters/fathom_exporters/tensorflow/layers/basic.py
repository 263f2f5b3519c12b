"""Layers as functions, which the models are written with.

A layer takes the network, its own name (a layer of the workload) and its input; its parameters are the network's
variables ``<layer>.weight`` and so on, in the workload's layout: linear [out, in], convolution OIHW. Images are in the
network's layout, NCHW for the export and NHWC for TensorFlow's own CPU kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from fathom_exporters.tensorflow.net import Net

__all__ = [
    "add",
    "batch_norm",
    "classifier",
    "constant",
    "conv2d",
    "dropout",
    "flatten",
    "global_average_pool",
    "huber",
    "linear",
    "local_response_norm",
    "max_pool",
    "relu",
    "sigmoid",
    "softmax_cross_entropy",
    "softplus",
]


def constant(values: np.ndarray[Any, Any], dtype: tf.DType) -> tf.Tensor:
    """Numbers of double precision as a constant of a type; a graph of float32 says what they were."""
    return tf.cast(tf.constant(values, tf.float64), dtype)


def linear(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``x W^T + b``: [..., in] -> [..., out]."""
    with net.scope(name):
        weight = net.variables[f"{name}.weight"]
        rows = x if len(x.shape) == 2 else tf.reshape(x, (-1, weight.shape[1]))
        y = tf.nn.bias_add(tf.matmul(rows, weight, transpose_b=True), net.variables[f"{name}.bias"])
        return y if len(x.shape) == 2 else tf.reshape(y, (*x.shape[:-1], weight.shape[0]))


def conv2d(net: Net, name: str, x: tf.Tensor, stride: int = 1, padding: int = 0) -> tf.Tensor:
    """Convolution, with a bias where the layer has one; ``padding`` zeros on every side."""
    with net.scope(name):
        filters = tf.transpose(net.variables[f"{name}.weight"], (2, 3, 1, 0))  # OIHW to TensorFlow's HWIO
        y = tf.nn.conv2d(x, filters, stride, net.padding(padding), net.data_format)
        bias = net.variables.get(f"{name}.bias")
        return y if bias is None else tf.nn.bias_add(y, bias, net.data_format)


def batch_norm(net: Net, name: str, x: tf.Tensor, momentum: float | None, epsilon: float) -> tf.Tensor:
    """Batch normalisation over all but the channels (Ioffe and Szegedy 2015).

    In training a running statistic becomes ``momentum * old + (1 - momentum) * batch``, with the unbiased variance.
    Without a momentum it is the average over all batches, counted in the variable ``<name>.num_batches_tracked``.
    """
    parameters = {
        "scale": net.variables[f"{name}.weight"],
        "offset": net.variables[f"{name}.bias"],
        "epsilon": epsilon,
    }
    mean_name, variance_name = f"{name}.running_mean", f"{name}.running_var"
    old_mean, old_variance = net.variables[mean_name], net.variables[variance_name]
    training = net.mode == "training"
    with net.scope(name):
        if x.dtype == tf.float32:
            # tf.nn.fused_batch_norm raises an epsilon below 1.001e-5; the operation itself takes it as it is
            y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x,
                mean=tf.zeros((0,)) if training else old_mean,
                variance=tf.zeros((0,)) if training else old_variance,
                data_format=net.data_format,
                is_training=training,
                **parameters,
            )
        else:
            y, mean, variance = _batch_norm_by_moments(
                net, x, None if training else (old_mean, old_variance), parameters
            )
        if training:
            kept = _share_kept(net, name, x.dtype) if momentum is None else momentum
            net.new_buffers[mean_name] = kept * old_mean + (1 - kept) * mean
            net.new_buffers[variance_name] = kept * old_variance + (1 - kept) * variance
    return y


def _share_kept(net: Net, name: str, dtype: tf.DType) -> tf.Tensor:
    """The share of the earlier batches in an average over all batches; this one is counted."""
    counter = f"{name}.num_batches_tracked"
    count = net.variables[counter] + 1
    net.new_buffers[counter] = count
    return 1 - 1 / tf.cast(count, dtype)


def _batch_norm_by_moments(
    net: Net, x: tf.Tensor, running: tuple[tf.Tensor, tf.Tensor] | None, parameters: Mapping[str, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """For types without a fused kernel: y, and the batch's mean and unbiased variance, or the running ones."""
    axes = (0, *net.spatial)
    mean, variance = running or tf.nn.moments(x, axes)
    shape = [1, -1, 1, 1] if net.data_format == "NCHW" else [-1]
    y = tf.nn.batch_normalization(
        x,
        tf.reshape(mean, shape),
        tf.reshape(variance, shape),
        tf.reshape(parameters["offset"], shape),
        tf.reshape(parameters["scale"], shape),
        parameters["epsilon"],
    )
    if running:
        return y, mean, variance
    count = int(np.prod([x.shape[axis] for axis in axes]))
    return y, mean, variance * (count / (count - 1))


def relu(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``max(x, 0)``."""
    with net.scope(name):
        return tf.nn.relu(x)


def max_pool(net: Net, name: str, x: tf.Tensor, kernel: int, stride: int, padding: int = 0) -> tf.Tensor:
    """The largest of each window; padding is never the largest."""
    with net.scope(name):
        return tf.nn.max_pool2d(x, kernel, stride, net.padding(padding), net.data_format)


def local_response_norm(net: Net, name: str, x: tf.Tensor, size: int, k: float, alpha: float, beta: float) -> tf.Tensor:
    """``x / (k + alpha * sum(x^2))^beta``, the sum over the ``size`` channels around each (an odd number)."""
    radius = size // 2
    with net.scope(name):
        image = tf.transpose(x, (0, 2, 3, 1)) if net.data_format == "NCHW" else x  # the only layout with a kernel
        if x.dtype == tf.float32:
            y = tf.nn.local_response_normalization(image, radius, k, alpha, beta)
        else:  # float64 has no kernel
            squares = tf.pad(tf.square(image), [[0, 0], [0, 0], [0, 0], [radius, radius]])
            channels = image.shape[3]
            total = tf.add_n([squares[..., i : i + channels] for i in range(size)])
            y = image / tf.pow(k + alpha * total, beta)
        return tf.transpose(y, (0, 3, 1, 2)) if net.data_format == "NCHW" else y


def flatten(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """Images to rows: [N, C, H, W] -> [N, C * H * W], in that order whatever the network's layout."""
    with net.scope(name):
        return tf.reshape(net.nchw(x), (x.shape[0], -1))


def dropout(net: Net, name: str, x: tf.Tensor, rate: float) -> tf.Tensor:
    """In training ``x / (1 - rate)`` where the noise ``<name>.noise`` is at least the rate, else 0.

    The noise of images is [N, C, H, W], whatever the network's layout.
    """
    if net.mode == "inference":
        return x
    with net.scope(name):
        mask = tf.cast(net.image(net.draw(f"{name}.noise")) >= rate, x.dtype) * (1 / (1 - rate))
        return x * mask


def global_average_pool(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """Mean over height and width: images -> [N, C]."""
    with net.scope(name):
        return tf.reduce_mean(x, net.spatial)


def classifier(net: Net, x: tf.Tensor, rate: float) -> tf.Tensor:
    """AlexNet's and VGG's three fully connected layers, ``fc6`` to ``fc8``, with dropout after the first two."""
    for number in (6, 7):
        x = relu(net, f"relu{number}", linear(net, f"fc{number}", x))
        x = dropout(net, f"dropout{number}", x, rate)
    return linear(net, "fc8", x)


def add(net: Net, name: str, x: tf.Tensor, shortcut: tf.Tensor) -> tf.Tensor:
    """The residual addition, a layer of its own so that its time has a name."""
    with net.scope(name):
        return x + shortcut


def softplus(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``log(1 + exp(x))``."""
    with net.scope(name):
        return tf.nn.softplus(x)


def sigmoid(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """``1 / (1 + exp(-x))``."""
    with net.scope(name):
        return tf.nn.sigmoid(x)


def softmax_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean over the batch of the softmax cross-entropy with float labels [N, classes]."""
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def huber(values: tf.Tensor, targets: tf.Tensor, delta: float) -> tf.Tensor:
    """Mean of the Huber loss: half the square of an error up to ``delta``, linear beyond (Huber 1964)."""
    error = values - targets
    size = tf.abs(error)
    return tf.reduce_mean(tf.where(size <= delta, 0.5 * tf.square(error), delta * (size - 0.5 * delta)))
