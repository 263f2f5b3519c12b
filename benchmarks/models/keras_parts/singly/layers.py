"""Every layer of ``keras.layers`` that has numbers for input, within a small model whose gradient passes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L

from ..making import CLASSES, Parts, chain, normal, sparse, whole

__all__ = ["LAYERS", "NOT_TRIED"]

NOT_TRIED = {
    "FlaxLayer": "a layer of another framework",
    "HashedCrossing": "of text or of pairs of whole numbers, before the model",
    "Hashing": "of text, before the model",
    "InputLayer": "part of every model here",
    "InputSpec": "no layer",
    "JaxLayer": "a layer of another framework",
    "Layer": "the base class",
    "MaxNumBoundingBoxes": "of bounding boxes, before the model",
    "Pipeline": "layers that are tried one by one",
    "RNN": "tried with each cell",
    "StringLookup": "of text, before the model",
    "TFSMLayer": "a saved model, whose graph is a file",
    "TextVectorization": "of text, before the model",
    "TorchModuleWrapper": "a layer of another framework",
    "Wrapper": "a base class",
}
"""Classes that have no entry, and why."""

Maker = Callable[[], Parts]


def _flat(layer: Any, size: int = 8) -> Parts:
    return chain((6,), L.Dense(size), layer, L.Flatten(), L.Dense(CLASSES)), normal(4, 6), whole(CLASSES, 4), sparse()


def _inside(shape: tuple[int, ...], layer: Any, channels: int = 4) -> Parts:
    """The layer on an image or a sequence that a trained layer makes; a trained layer follows."""
    first = L.Input(shape, batch_size=2)
    model = keras.Sequential([first, L.Dense(channels), layer, L.Flatten(), L.Dense(CLASSES)])
    return model, normal(2, *shape), whole(CLASSES, 2), sparse()


def _merged(layer: Any, count: int = 2) -> Parts:
    inputs = [L.Input((6,)) for _ in range(count)]
    h = layer([L.Dense(8)(x) for x in inputs])
    model = keras.Model(inputs, L.Dense(CLASSES)(L.Flatten()(h)))
    return model, [normal(4, 6) for _ in range(count)], whole(CLASSES, 4), sparse()


def _attended(layer: Any, calls: Callable[[Any, Any], Any]) -> Parts:
    q, v = L.Input((4, 6)), L.Input((5, 6))
    h = calls(L.Dense(8)(q), L.Dense(8)(v))
    model = keras.Model([q, v], L.Dense(CLASSES)(L.Flatten()(h)))
    return model, [normal(2, 4, 6), normal(2, 5, 6)], whole(CLASSES, 2), sparse()


def _words(*layers: Any) -> Parts:
    ids = tf.constant([[3, 5, 2, 9, 0, 0], [4, 1, 7, 8, 2, 6], [9, 9, 0, 0, 0, 0]])
    model = keras.Sequential([L.Input((6,), dtype="int32"), *layers, L.Flatten(), L.Dense(CLASSES)])
    return model, ids, whole(CLASSES, 3), sparse()


def _whole_numbers(layer: Any, inputs: Any) -> Parts:
    """A layer without gradient at the start of a model."""
    model = keras.Sequential([L.Input(inputs.shape[1:], dtype=inputs.dtype), layer, L.Flatten(), L.Dense(CLASSES)])
    return model, inputs, whole(CLASSES, inputs.shape[0]), sparse()


def _image(layer: Any, size: int = 12) -> Parts:
    """A layer that changes images, at the start of a model."""
    model = chain((size, size, 3), layer, L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(CLASSES))
    return model, tf.random.stateless_uniform((2, size, size, 3), (1, 2)), whole(CLASSES, 2), sparse()


def _sound(layer: Any, length: int = 256) -> Parts:
    model = chain((length,), layer, L.Flatten(), L.Dense(CLASSES))
    return model, normal(2, length), whole(CLASSES, 2), sparse()


_SIDES: dict[int, tuple[int, ...]] = {1: (10,), 2: (8, 7), 3: (6, 5, 5)}


def _on_images() -> Iterator[tuple[str, Maker]]:
    """Layers that come with one, two and three sides."""

    def add(name: str, sides: int, **options: Any) -> tuple[str, Maker]:
        label = f"{name}{sides}D{''.join(f' {k}={v}' for k, v in options.items())}"
        label = label.replace(f"Transpose{sides}D", f"{sides}DTranspose")
        kind = getattr(L, f"{name}{sides}D" if not name.endswith("Transpose") else f"Conv{sides}DTranspose")
        arguments = dict(options)
        own = {"Conv": {"filters": 3}, "ConvTranspose": {"filters": 3}, "SeparableConv": {"filters": 3}}
        own |= {"SpatialDropout": {"rate": 0.4}, "AdaptiveAveragePooling": {"output_size": 3}}
        own |= {"AdaptiveMaxPooling": {"output_size": 3}}
        arguments = {**own.get(name, {}), **arguments}
        if name.endswith(("Conv", "ConvTranspose")):
            arguments.setdefault("kernel_size", 3)
        return label, lambda: _inside((*_SIDES[sides], 3), kind(**arguments))

    for sides in (1, 2, 3):
        for name in ("AveragePooling", "MaxPooling"):
            yield add(name, sides, pool_size=2)
            yield add(name, sides, pool_size=3, strides=2, padding="same")
            yield add(name, sides, pool_size=3, strides=1)
        for name in ("GlobalAveragePooling", "GlobalMaxPooling", "Cropping", "ZeroPadding", "UpSampling"):
            yield add(name, sides)
        for name in ("AdaptiveAveragePooling", "AdaptiveMaxPooling", "SpatialDropout"):
            yield add(name, sides)
        yield add("GlobalAveragePooling", sides, keepdims=True)
        for options in (
            {},
            {"padding": "same"},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2},
            {"groups": 2, "filters": 4},
            {"groups": 2, "filters": 4, "strides": 2},
            {"groups": 2, "filters": 4, "dilation_rate": 2, "padding": "same"},
            {"use_bias": False, "kernel_regularizer": "l2", "kernel_constraint": "max_norm"},
        ):
            yield add("Conv", sides, **options)
        for options in (
            {},
            {"padding": "same"},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2},
            {"strides": 2, "padding": "same", "output_padding": 1},
        ):
            yield add("ConvTranspose", sides, **options)
        if sides < 3:
            for options in ({}, {"strides": 2, "padding": "same"}, {"dilation_rate": 2}, {"depth_multiplier": 2}):
                yield add("DepthwiseConv", sides, **options)
                yield add("SeparableConv", sides, **options)
    yield add("Conv", 1, padding="causal", dilation_rate=2)
    yield add("UpSampling", 2, size=(2, 3), interpolation="bilinear")
    yield add("UpSampling", 2, interpolation="bicubic")
    yield add("UpSampling", 2, interpolation="lanczos3")
    yield (
        "Conv2D data_format=channels_first",
        lambda: (
            chain((3, 8, 7), L.Conv2D(3, 3, data_format="channels_first"), L.Flatten(), L.Dense(CLASSES)),
            normal(2, 3, 8, 7),
            whole(CLASSES, 2),
            sparse(),
        ),
    )
    for sides in (1, 2, 3):
        shape = (4, *(5,) * sides, 2)
        kind = getattr(L, f"ConvLSTM{sides}D")
        for more in ({}, {"return_sequences": True, "go_backwards": True}):
            label = f"ConvLSTM{sides}D{''.join(f' {k}={v}' for k, v in more.items())}"
            yield (
                label,
                lambda kind=kind, shape=shape, more=more: _inside(shape, kind(3, 3, padding="same", **more), 2),
            )


_ELEMENTWISE: dict[str, Callable[[], Any]] = {
    "Activation": lambda: L.Activation("tanh"),
    "ActivityRegularization": lambda: L.ActivityRegularization(0.1, 0.2),
    "AlphaDropout": lambda: L.AlphaDropout(0.3),
    "BatchNormalization": lambda: L.BatchNormalization(),
    "BatchNormalization renorm-free, no scale": lambda: L.BatchNormalization(scale=False, center=False),
    "BatchNormalization synchronized=False momentum": lambda: L.BatchNormalization(momentum=0.5, epsilon=1e-5),
    "Dense": lambda: L.Dense(8, "relu", kernel_regularizer="l1", bias_constraint="non_neg"),
    "Dense lora_rank": lambda: L.Dense(8, lora_rank=2),
    "Dropout": lambda: L.Dropout(0.3),
    "Dropout seed": lambda: L.Dropout(0.3, seed=3),
    "ELU": lambda: L.ELU(0.7),
    "EinsumDense": lambda: L.EinsumDense("ab,bc->ac", 8, bias_axes="c"),
    "Flatten": lambda: L.Flatten(),
    "GaussianDropout": lambda: L.GaussianDropout(0.3),
    "GaussianNoise": lambda: L.GaussianNoise(0.3),
    "GroupNormalization": lambda: L.GroupNormalization(4),
    "Identity": lambda: L.Identity(),
    "Lambda": lambda: L.Lambda(lambda x: keras.ops.sin(x) + x),
    "LayerNormalization": lambda: L.LayerNormalization(),
    "LayerNormalization no scale": lambda: L.LayerNormalization(center=False, scale=False),
    "LeakyReLU": lambda: L.LeakyReLU(0.2),
    "PReLU": lambda: L.PReLU(),
    "RMSNormalization": lambda: L.RMSNormalization(),
    "ReLU": lambda: L.ReLU(2.0, 0.1, 0.2),
    "RepeatVector": lambda: L.RepeatVector(3),
    "Rescaling": lambda: L.Rescaling(1 / 255, 0.5),
    "Reshape": lambda: L.Reshape((2, 4)),
    "Softmax": lambda: L.Softmax(),
    "SpectralNormalization": lambda: L.SpectralNormalization(L.Dense(8)),
    "UnitNormalization": lambda: L.UnitNormalization(),
}

_SEQUENCES: dict[str, Callable[[], Any]] = {
    "BatchNormalization of sequences": lambda: L.BatchNormalization(),
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(3)),
    "Bidirectional merge_mode=sum return_sequences": lambda: L.Bidirectional(
        L.GRU(3, return_sequences=True), merge_mode="sum"
    ),
    "EinsumDense of sequences": lambda: L.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="de"),
    "GRU": lambda: L.GRU(3),
    "GRU reset_after=False dropout": lambda: L.GRU(3, reset_after=False, dropout=0.2, recurrent_dropout=0.2),
    "GRU go_backwards": lambda: L.GRU(3, go_backwards=True, return_sequences=True),
    "GRU stateful": lambda: L.GRU(3, stateful=True),
    "LSTM": lambda: L.LSTM(3),
    "LSTM return_sequences dropout": lambda: L.LSTM(3, return_sequences=True, dropout=0.2, recurrent_dropout=0.1),
    "LSTM stateful": lambda: L.LSTM(3, stateful=True),
    "LSTM unit_forget_bias=False relu": lambda: L.LSTM(3, "relu", unit_forget_bias=False),
    "LayerNormalization two axes": lambda: L.LayerNormalization(axis=(1, 2)),
    "Masking": lambda: chain((5, 4), L.Masking(0.1), L.LSTM(3)),
    "Permute": lambda: L.Permute((2, 1)),
    "PReLU shared_axes": lambda: L.PReLU(shared_axes=[1]),
    "RNN of GRUCell": lambda: L.RNN(L.GRUCell(3)),
    "RNN of LSTMCell": lambda: L.RNN(L.LSTMCell(3)),
    "RNN of SimpleRNNCell": lambda: L.RNN(L.SimpleRNNCell(3)),
    "RNN of StackedRNNCells": lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2)])),
    "SimpleRNN": lambda: L.SimpleRNN(3),
    "SimpleRNN stateful": lambda: L.SimpleRNN(3, stateful=True),
    "Softmax axis=1": lambda: L.Softmax(axis=1),
    "TimeDistributed": lambda: L.TimeDistributed(L.Dense(3)),
    "TimeDistributed of normalisation": lambda: L.TimeDistributed(L.BatchNormalization()),
    "GroupNormalization of sequences": lambda: L.GroupNormalization(2),
    "UnitNormalization axis=1": lambda: L.UnitNormalization(axis=1),
}

_PICTURES: dict[str, Callable[[], Any]] = {
    "BatchNormalization of images": lambda: L.BatchNormalization(),
    "BatchNormalization axis=1 of images": lambda: L.BatchNormalization(axis=1),
    "GroupNormalization of images": lambda: L.GroupNormalization(2),
    "LayerNormalization of images": lambda: L.LayerNormalization(),
    "SpectralNormalization of convolutions": lambda: L.SpectralNormalization(L.Conv2D(3, 3)),
    "TimeDistributed of convolutions": lambda: L.TimeDistributed(L.Conv1D(3, 3)),
    "CenterCrop": lambda: L.CenterCrop(4, 5),
    "Resizing": lambda: L.Resizing(5, 9),
    "Resizing nearest": lambda: L.Resizing(5, 9, interpolation="nearest"),
    "Resizing bicubic": lambda: L.Resizing(12, 12, interpolation="bicubic"),
    "Resizing crop_to_aspect_ratio": lambda: L.Resizing(5, 9, crop_to_aspect_ratio=True),
    "Resizing antialias": lambda: L.Resizing(5, 4, antialias=True),
    "Resizing area": lambda: L.Resizing(5, 4, interpolation="area"),
    "Resizing lanczos5": lambda: L.Resizing(5, 4, interpolation="lanczos5"),
}

_MERGES = {
    "Add": lambda: L.Add(),
    "Average": lambda: L.Average(),
    "Concatenate": lambda: L.Concatenate(),
    "Dot": lambda: L.Dot(1),
    "Dot normalize": lambda: L.Dot(1, normalize=True),
    "Maximum": lambda: L.Maximum(),
    "Minimum": lambda: L.Minimum(),
    "Multiply": lambda: L.Multiply(),
    "Subtract": lambda: L.Subtract(),
}

_CHANGES: dict[str, Callable[[], Any]] = {
    "AugMix": lambda: L.AugMix((0, 1)),
    "AutoContrast": lambda: L.AutoContrast((0, 1)),
    "ContrastLimitedAdaptiveHistogramEqualization": lambda: L.ContrastLimitedAdaptiveHistogramEqualization(
        (0, 1), tile_grid_size=(2, 2)
    ),
    "CutMix": lambda: L.CutMix(),
    "Equalization": lambda: L.Equalization((0, 1)),
    "MixUp": lambda: L.MixUp(),
    "Normalization": lambda: L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
    "RandAugment": lambda: L.RandAugment((0, 1)),
    "RandomBrightness": lambda: L.RandomBrightness(0.2, (0, 1)),
    "RandomColorDegeneration": lambda: L.RandomColorDegeneration(0.3, (0, 1)),
    "RandomColorJitter": lambda: L.RandomColorJitter((0, 1), 0.2, 0.2, 0.2, 0.2),
    "RandomContrast": lambda: L.RandomContrast(0.2, (0, 1)),
    "RandomCrop": lambda: L.RandomCrop(8, 8),
    "RandomElasticTransform": lambda: L.RandomElasticTransform(value_range=(0, 1)),
    "RandomErasing": lambda: L.RandomErasing(value_range=(0, 1)),
    "RandomFlip": lambda: L.RandomFlip(),
    "RandomGaussianBlur": lambda: L.RandomGaussianBlur(value_range=(0, 1)),
    "RandomGrayscale": lambda: L.RandomGrayscale(),
    "RandomHue": lambda: L.RandomHue(0.2, (0, 1)),
    "RandomInvert": lambda: L.RandomInvert(value_range=(0, 1)),
    "RandomPerspective": lambda: L.RandomPerspective(),
    "RandomPosterization": lambda: L.RandomPosterization(4, (0, 1)),
    "RandomRotation": lambda: L.RandomRotation(0.2),
    "RandomSaturation": lambda: L.RandomSaturation(0.2, (0, 1)),
    "RandomSharpness": lambda: L.RandomSharpness(0.2, (0, 1)),
    "RandomShear": lambda: L.RandomShear(0.2, 0.2),
    "RandomTranslation": lambda: L.RandomTranslation(0.2, 0.2),
    "RandomZoom": lambda: L.RandomZoom(0.2),
    "Solarization": lambda: L.Solarization(value_range=(0, 1)),
}


def _reversible() -> Parts:
    """A table that is read for the words and again, transposed, for the logits."""
    x = L.Input((6,), dtype="int32")
    table = L.ReversibleEmbedding(12, 8)
    h = L.Dense(8, "tanh")(table(x))
    model = keras.Model(x, table(h, reverse=True))
    return model, whole(12, 2, 6), whole(12, 2, 6), sparse()


def _adapted() -> Any:
    layer = L.Normalization()
    layer.adapt(np.random.normal(size=(20, 12, 12, 3)))
    return layer


def _heads(**options: Any) -> Parts:
    layer = L.MultiHeadAttention(2, 4, **options)
    return _attended(layer, lambda q, v: layer(q, v))


def _own_heads(**more: Any) -> Parts:
    x = L.Input((5, 6))
    h = L.MultiHeadAttention(2, 4, dropout=0.2)(L.Dense(8)(x), L.Dense(8)(x), **more)
    return keras.Model(x, L.Dense(CLASSES)(L.Flatten()(h))), normal(2, 5, 6), whole(CLASSES, 2), sparse()


def _grouped(**options: Any) -> Parts:
    layer = L.GroupQueryAttention(4, 4, 2, **options)
    return _attended(layer, lambda q, v: layer(q, v))


_OTHERS: dict[str, Maker] = {
    "AdditiveAttention": lambda: _attended(None, lambda q, v: L.AdditiveAttention()([q, v])),
    "Attention": lambda: _attended(None, lambda q, v: L.Attention(use_scale=True)([q, v])),
    "Attention score_mode=concat dropout": lambda: _attended(
        None, lambda q, v: L.Attention(score_mode="concat", dropout=0.2)([q, v])
    ),
    "Attention causal": lambda: _attended(None, lambda q, v: L.Attention()([q, v], use_causal_mask=True)),
    "CategoryEncoding one_hot": lambda: _whole_numbers(L.CategoryEncoding(9, "one_hot"), whole(9, 4, 1)),
    "CategoryEncoding multi_hot": lambda: _whole_numbers(L.CategoryEncoding(9), whole(9, 4, 3)),
    "CategoryEncoding count": lambda: _whole_numbers(L.CategoryEncoding(9, "count"), whole(9, 4, 3)),
    "Discretization": lambda: _whole_numbers(L.Discretization([-1.0, 0.0, 0.5]), normal(4, 3)),
    "Discretization one_hot": lambda: _whole_numbers(
        L.Discretization([-1.0, 0.0, 0.5], output_mode="one_hot"), normal(4, 1)
    ),
    "Embedding": lambda: _words(L.Embedding(12, 4)),
    "Embedding mask_zero LSTM": lambda: _words(L.Embedding(12, 4, mask_zero=True), L.LSTM(3)),
    "Embedding mask_zero GRU return_sequences": lambda: _words(
        L.Embedding(12, 4, mask_zero=True), L.GRU(3, return_sequences=True), L.GlobalAveragePooling1D()
    ),
    "Embedding mask_zero Bidirectional": lambda: _words(
        L.Embedding(12, 4, mask_zero=True), L.Bidirectional(L.SimpleRNN(3, return_sequences=True)), L.Conv1D(3, 2)
    ),
    "Embedding mask_zero MultiHeadAttention": lambda: _masked_heads(),
    "Embedding lora": lambda: _words(L.Embedding(12, 4, lora_rank=2)),
    "Embedding regularised": lambda: _words(L.Embedding(12, 4, embeddings_regularizer="l2")),
    "GroupQueryAttention": _grouped,
    "GroupQueryAttention dropout no bias": lambda: _grouped(dropout=0.2, use_bias=False),
    "IntegerLookup": lambda: _whole_numbers(
        L.IntegerLookup(vocabulary=[1, 3, 5], output_mode="one_hot"), whole(9, 4, 1)
    ),
    "MelSpectrogram": lambda: _sound(L.MelSpectrogram(64, 16, 64, num_mel_bins=8)),
    "MultiHeadAttention": _heads,
    "MultiHeadAttention value_dim output_shape": lambda: _heads(value_dim=3, output_shape=5, use_bias=False),
    "MultiHeadAttention dropout": _own_heads,
    "MultiHeadAttention causal": lambda: _own_heads(use_causal_mask=True),
    "MultiHeadAttention flash=False": lambda: _heads(flash_attention=False),
    "ReversibleEmbedding": _reversible,
    "STFTSpectrogram": lambda: _sound(L.STFTSpectrogram(frame_length=64, frame_step=16, fft_length=64)),
    "STFTSpectrogram real": lambda: _sound(L.STFTSpectrogram("real", frame_length=64, frame_step=16, fft_length=64)),
    "Normalization adapted": lambda: _image(_adapted()),
}


def _masked_heads() -> Parts:
    x = L.Input((6,), dtype="int32")
    h = L.Embedding(12, 8, mask_zero=True)(x)
    h = L.MultiHeadAttention(2, 4)(h, h)
    ids = tf.constant([[3, 5, 2, 9, 0, 0], [4, 1, 7, 8, 2, 6], [9, 9, 0, 0, 0, 0]])
    return keras.Model(x, L.Dense(CLASSES)(L.GlobalAveragePooling1D()(h))), ids, whole(CLASSES, 3), sparse()


def _frozen(maker: Maker, index: int) -> Maker:
    """The same with the layer that is tried not trained."""

    def make() -> Parts:
        parts = maker()
        parts[0].layers[index].trainable = False
        return parts

    return make


def _all() -> Iterator[tuple[str, Maker]]:
    for name, layer in _ELEMENTWISE.items():
        yield name, lambda layer=layer: _flat(layer())
    for name, layer in _SEQUENCES.items():
        yield name, lambda layer=layer: _inside((5, 3), layer())
    for name, layer in _PICTURES.items():
        yield name, lambda layer=layer: _inside((8, 7, 3), layer())
    for name, layer in _MERGES.items():
        yield name, lambda layer=layer: _merged(layer())
    for name, layer in _CHANGES.items():
        yield name, lambda layer=layer: _image(layer())
    yield from _on_images()
    yield from _OTHERS.items()


def _with_frozen() -> Iterator[tuple[str, Maker]]:
    chains = {*_ELEMENTWISE, *_SEQUENCES, *_PICTURES, *(name for name, _ in _on_images())}
    plain = (
        "Activ",
        "Drop",
        "Noise",
        "Pool",
        "ELU",
        "Flat",
        "Id",
        "Lam",
        "ReL",
        "Res",
        "Perm",
        "Repeat",
        "Crop",
        "Pad",
    )
    for name, maker in _all():
        yield name, maker
        has_weights = not any(part in name for part in (*plain, "UpSam", "Unit", "Softmax", "Rescal", "Mask"))
        if (name in chains and has_weights) or name == "PReLU":
            yield f"{name}, not trained", _frozen(maker, 1)


LAYERS: dict[str, Maker] = dict(_with_frozen())
"""Name, class first, to maker."""
