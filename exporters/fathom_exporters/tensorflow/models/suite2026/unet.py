"""unet in TensorFlow: the denoising U-Net of :mod:`fathom_onnx.workloads.suite2026.unet`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fathom_exporters.tensorflow.layers import add, constant, conv2d, dropout, group_norm, linear, silu
from fathom_exporters.tensorflow.net import Net
from fathom_onnx.workloads.suite2026.unet import Block, UnetConfig, frequencies, levels, schedule

__all__ = ["forward", "loss"]

Batch = Mapping[str, tf.Tensor]


def _of_step(values: np.ndarray, timesteps: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """A value of each image's step, [N, 1, 1, 1]."""
    return tf.reshape(tf.gather(constant(values, like.dtype), timesteps), (-1, 1, 1, 1))


def blend(net: Net, config: UnetConfig, images: tf.Tensor, noise: tf.Tensor, timesteps: tf.Tensor) -> tf.Tensor:
    """x_t of images x_0 and noise (eq. 4 of the paper)."""
    _, kept = schedule(config)
    with net.scope("blend"):
        image_share, noise_share = (_of_step(np.sqrt(share), timesteps, images) for share in (kept, 1 - kept))
        return image_share * images + noise_share * noise


def denoise(net: Net, config: UnetConfig, images: tf.Tensor, predicted: tf.Tensor, timesteps: tf.Tensor) -> tf.Tensor:
    """x_(t-1) of x_t and the predicted noise (algorithm 2 of the paper)."""
    betas, kept = schedule(config)
    sigma = np.sqrt(betas)
    sigma[0] = 0  # nothing is drawn in the last step
    with net.scope("denoise"):
        values = (1 / np.sqrt(1 - betas), betas / np.sqrt(1 - kept), sigma)
        scale, share, spread = (_of_step(v, timesteps, images) for v in values)
        return scale * (images - share * predicted) + spread * net.draw("noise")


def time_embedding(net: Net, config: UnetConfig, timesteps: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Steps [N] -> what every block reads of them, [N, 4 * width]."""
    with net.scope("time.angles"):
        angles = tf.reshape(tf.cast(timesteps, like.dtype), (-1, 1)) * constant(frequencies(config), like.dtype)
        x = tf.concat([tf.sin(angles), tf.cos(angles)], 1)
    x = silu(net, "time.silu1", linear(net, "time.linear1", x))
    return silu(net, "time.silu2", linear(net, "time.linear2", x))


def pixel_attention(net: Net, config: UnetConfig, name: str, x: tf.Tensor) -> tf.Tensor:
    """Attention of each pixel to all with one head, added to its input."""
    y = group_norm(net, f"{name}.norm", x, config.groups, config.epsilon)
    y = read(net, f"{name}.read", *(conv2d(net, f"{name}.{part}", y) for part in ("query", "key", "value")))
    return add(net, f"{name}.add", conv2d(net, f"{name}.output", y), x)


def read(net: Net, name: str, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """What each pixel reads of all pixels, ``softmax(q^T k / sqrt(C)) v^T`` with one head, in the network's layout."""
    first = net.data_format == "NCHW"
    batch, channels = query.shape[0], query.shape[1 if first else 3]
    with net.scope(name):
        shape = (batch, channels, -1) if first else (batch, -1, channels)
        q, k, v = (tf.reshape(x, shape) for x in (query, key, value))
        scores = tf.matmul(q, k, transpose_a=first, transpose_b=not first) * channels**-0.5
        with tf.name_scope("Softmax"):  # its gradient is one canonical op by this name
            weights = tf.nn.softmax(scores)
        y = tf.matmul(v, weights, transpose_b=True) if first else tf.matmul(weights, v)
        return tf.reshape(y, query.shape)


def residual_block(net: Net, config: UnetConfig, block: Block, x: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Two convolutions with the step's embedding in between, a shortcut, and attention in some blocks."""
    b = block.name
    y = silu(net, f"{b}.silu1", group_norm(net, f"{b}.norm1", x, config.groups, config.epsilon))
    y = conv2d(net, f"{b}.conv1", y, padding=1)
    time = linear(net, f"{b}.time", time)
    with net.scope(f"{b}.add_time"):
        shape = (-1, block.channels, 1, 1) if net.data_format == "NCHW" else (-1, 1, 1, block.channels)
        y = y + tf.reshape(time, shape)
    y = silu(net, f"{b}.silu2", group_norm(net, f"{b}.norm2", y, config.groups, config.epsilon))
    y = conv2d(net, f"{b}.conv2", dropout(net, f"{b}.dropout", y, config.dropout), padding=1)
    y = add(net, f"{b}.add", y, x if block.channels_in == block.channels else conv2d(net, f"{b}.shortcut", x))
    return pixel_attention(net, config, f"{b}.attention", y) if block.attention else y


def down(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """A convolution with stride 2; a row and a column of zeros at the end make its windows whole."""
    with net.scope(name):
        pads = [[0, 0]] * 4
        for axis in net.spatial:
            pads[axis] = [0, 1]
        x = tf.pad(x, pads)
    return conv2d(net, name, x, stride=2)


def repeat(net: Net, name: str, x: tf.Tensor) -> tf.Tensor:
    """Each pixel four times: side by side in both directions."""
    with net.scope(name):
        image = tf.transpose(x, (0, 2, 3, 1)) if net.data_format == "NCHW" else x  # the only layout with a kernel
        y = tf.image.resize(image, [2 * n for n in image.shape[1:3]], "nearest")
        return tf.transpose(y, (0, 3, 1, 2)) if net.data_format == "NCHW" else y


def predict(net: Net, config: UnetConfig, x: tf.Tensor, timesteps: tf.Tensor) -> tf.Tensor:
    """The noise in x_t [N, 3, H, W], of the same shape."""
    time = time_embedding(net, config, timesteps, x)
    x = conv2d(net, "conv_in", net.image(x), padding=1)
    channels = 1 if net.data_format == "NCHW" else 3
    kept = [x]
    for level in levels(config):
        for block in level.blocks:
            if level.name.startswith("up"):
                with net.scope(f"{block.name}.join"):
                    x = tf.concat([x, kept.pop()], channels)
            x = residual_block(net, config, block, x, time)
            if level.name.startswith("down"):
                kept.append(x)
        if level.resampled and level.name.startswith("up"):
            x = conv2d(net, f"{level.name}.resample", repeat(net, f"{level.name}.repeat", x), padding=1)
        elif level.resampled:
            x = down(net, f"{level.name}.resample", x)
            kept.append(x)
    x = silu(net, "silu_out", group_norm(net, "norm_out", x, config.groups, config.epsilon))
    x = conv2d(net, "conv_out", x, padding=1)
    with net.scope("conv_out"):
        return net.nchw(x)


def forward(net: Net, config: UnetConfig, batch: Batch) -> dict[str, tf.Tensor]:
    """Batch inputs to the predicted noise; in inference, to the images one step before."""
    images, timesteps = batch["images"], batch["timesteps"]
    if net.mode == "training":
        with net.scope("blend"):
            noise = net.draw("noise")
        x = blend(net, config, images, noise, timesteps)
        return {"predicted": predict(net, config, x, timesteps), "noise": noise}
    return {"denoised": denoise(net, config, images, predict(net, config, images, timesteps), timesteps)}


def loss(net: Net, config: UnetConfig, outputs: Batch, batch: Batch) -> tf.Tensor:
    """The mean squared error of the predicted noise (eq. 14 of the paper)."""
    return tf.reduce_mean(tf.square(outputs["predicted"] - outputs["noise"]))
