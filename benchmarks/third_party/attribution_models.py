"""Third-party graphs for the attribution benchmark, exported here by the exporters that people use.

Weights are random; the sizes are those of real networks where the name says so.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

__all__ = ["MODELS"]

OPSET = 18


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Exporters talk on both streams; the benchmark's table is all that is to be read."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _torch(model: Any, inputs: tuple[Any, ...], path: Path, dynamo: bool) -> None:
    """Export by PyTorch's newer exporter (``dynamo``) or by the older one."""
    import torch

    names = [f"input_{i}" for i in range(len(inputs))]
    with _quietly(), torch.no_grad():
        model.eval()
        if dynamo:
            torch.onnx.export(model, inputs, path, dynamo=True, opset_version=OPSET, input_names=names)
        else:
            kept = torch.onnx.TrainingMode.PRESERVE  # batch normalizations stay, for onnxruntime to fold
            torch.onnx.export(
                model, inputs, str(path), dynamo=False, opset_version=17, input_names=names, training=kept
            )


def _randomise(model: Any) -> None:
    """Give batch normalizations statistics of their own, as training would."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)


def _resnet(blocks: tuple[int, ...], classes: int = 1000) -> Any:
    """A ResNet of bottleneck blocks (He et al. 2016, table 1): (3, 4, 6, 3) is ResNet-50."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, inside: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
            self.relu = nn.ReLU()
            self.downsample: Any = None
            if stride != 1 or inside != 4 * width:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
                )

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.relu(self.bn2(self.conv2(y)))
            y = self.bn3(self.conv3(y))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            inside = 64
            for number, count in enumerate(blocks):
                width = 64 << number
                layers = []
                for block in range(count):
                    layers.append(Bottleneck(inside, width, 2 if number and not block else 1))
                    inside = 4 * width
                self.add_module(f"layer{number + 1}", nn.Sequential(*layers))
            self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(inside, classes)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            for number in range(len(blocks)):
                x = getattr(self, f"layer{number + 1}")(x)
            return self.fc(torch.flatten(self.avgpool(x), 1))

    torch.manual_seed(0)
    model = ResNet()
    _randomise(model)
    return model


def _resnet50(path: Path, dynamo: bool) -> None:
    import torch

    _torch(_resnet((3, 4, 6, 3)), (torch.randn(1, 3, 224, 224),), path, dynamo)


def _bilstm(path: Path, dynamo: bool) -> None:
    """Two bidirectional LSTM layers over 32 steps, with an embedding and a classifier."""
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(1000, 128)
            self.lstm = nn.LSTM(128, 256, 2, bidirectional=True, batch_first=True)
            self.norm, self.head = nn.LayerNorm(512), nn.Linear(512, 20)

        def forward(self, tokens: Any) -> Any:
            hidden, _ = self.lstm(self.embedding(tokens))
            return torch.log_softmax(self.head(self.norm(hidden)), -1)

    torch.manual_seed(0)
    _torch(Tagger(), (torch.randint(0, 1000, (4, 32)),), path, dynamo)


def _attention_block(width: int, heads: int, causal: bool) -> Any:
    """Multi-head attention and a feed-forward part (Vaswani et al. 2017); norms after them or, ``causal``, before."""
    import torch
    from torch import nn

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.dense = nn.Linear(width, width)
            self.dropout = nn.Dropout(0.1)

        def forward(self, x: Any, mask: Any) -> Any:
            batch, length, _ = x.shape

            def split(y: Any) -> Any:
                return y.view(batch, length, heads, width // heads).permute(0, 2, 1, 3)

            scores = split(self.query(x)) @ split(self.key(x)).transpose(-1, -2) / math.sqrt(width // heads)
            weights = self.dropout(torch.softmax(scores + mask, -1))
            mixed = (weights @ split(self.value(x))).permute(0, 2, 1, 3).contiguous().view(batch, length, width)
            return self.dense(mixed)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.norm1, self.norm2 = SelfAttention(), nn.LayerNorm(width), nn.LayerNorm(width)
            self.intermediate, self.output = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.activation = nn.GELU(approximate="tanh" if causal else "none")

        def forward(self, x: Any, mask: Any) -> Any:
            if causal:
                x = x + self.attention(self.norm1(x), mask)
                return x + self.output(self.activation(self.intermediate(self.norm2(x))))
            x = self.norm1(x + self.attention(x, mask))
            return self.norm2(x + self.output(self.activation(self.intermediate(x))))

    return Block()


def _bert(path: Path, dynamo: bool) -> None:
    """Six encoder layers of width 256 over 64 tokens, with an input mask."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.positions = nn.Embedding(2000, 256), nn.Embedding(128, 256)
            self.norm = nn.LayerNorm(256)
            self.layer = nn.ModuleList([_attention_block(256, 8, False) for _ in range(6)])
            self.pooler = nn.Linear(256, 256)

        def forward(self, tokens: Any, mask: Any) -> Any:
            places = torch.arange(tokens.shape[1]).unsqueeze(0)
            x = self.norm(self.words(tokens) + self.positions(places))
            mask = (1.0 - mask[:, None, None, :].float()) * -10000.0
            for layer in self.layer:
                x = layer(x, mask)
            return x, torch.tanh(self.pooler(x[:, 0]))

    torch.manual_seed(0)
    inputs = (torch.randint(0, 2000, (2, 64)), torch.ones(2, 64, dtype=torch.int64))
    _torch(Encoder(), inputs, path, dynamo)


def _gpt_step(path: Path) -> None:
    """Four decoder layers of width 128 over 16 tokens."""
    import torch
    from torch import nn

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(500, 128), nn.Embedding(16, 128)
            self.h = nn.ModuleList([_attention_block(128, 4, True) for _ in range(4)])
            self.ln_f, self.lm_head = nn.LayerNorm(128), nn.Linear(128, 500, bias=False)

        def forward(self, tokens: Any) -> Any:
            length = tokens.shape[1]
            x = self.wte(tokens) + self.wpe(torch.arange(length))
            mask = torch.full((length, length), -1e4).triu(1)
            for layer in self.h:
                x = layer(x, mask)
            return self.lm_head(self.ln_f(x))

    torch.manual_seed(0)
    _torch(Decoder(), (torch.randint(0, 500, (1, 16)),), path, True)


def _gpt_loop(path: Path) -> None:
    """The decoder in a Loop that samples eight tokens greedily; an If in it sharpens or keeps the logits."""
    _gpt_step(path)
    step = onnx.load(path)
    body_nodes = list(step.graph.node)
    tokens_in, logits = step.graph.input[0].name, step.graph.output[0].name
    int64, boolean, floating = onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT
    info = helper.make_tensor_value_info

    def branch(kind: str, inputs: list[str], output: str) -> onnx.GraphProto:
        node = helper.make_node(kind, inputs, [output], name=f"sample/{kind}")
        return helper.make_graph([node], kind, [], [info(output, floating, [1, 500])])

    after = [
        helper.make_node("Gather", [logits, "loop.last"], ["loop.picked"], name="sample/last", axis=1),
        helper.make_node("Less", ["loop.i", "loop.half"], ["loop.early"], name="sample/early"),
        helper.make_node(
            "If",
            ["loop.early"],
            ["loop.scaled"],
            name="sample/if",
            then_branch=branch("Mul", ["loop.picked", "loop.two"], "loop.sharp"),
            else_branch=branch("Tanh", ["loop.picked"], "loop.soft"),
        ),
        helper.make_node("ArgMax", ["loop.scaled"], ["loop.best"], name="sample/argmax", axis=1, keepdims=1),
        helper.make_node("Slice", [tokens_in, "loop.one", "loop.far", "loop.one"], ["loop.kept"], name="sample/shift"),
        helper.make_node("Concat", ["loop.kept", "loop.best"], ["loop.next"], name="sample/append", axis=1),
        helper.make_node("Identity", ["loop.go"], ["loop.go_on"], name="sample/go"),
    ]
    body = helper.make_graph(
        body_nodes + after,
        "body",
        [info("loop.i", int64, []), info("loop.go", boolean, []), info(tokens_in, int64, [1, 16])],
        [info("loop.go_on", boolean, []), info("loop.next", int64, [1, 16])],
        value_info=list(step.graph.value_info),
    )
    constants = {
        "loop.last": np.int64(15),
        "loop.half": np.int64(4),
        "loop.two": np.float32(2),
        "loop.one": np.array([1], np.int64),
        "loop.far": np.array([2**31], np.int64),
        "loop.trips": np.int64(8),
        "loop.yes": np.bool_(True),
    }
    graph = helper.make_graph(
        [helper.make_node("Loop", ["loop.trips", "loop.yes", "tokens"], ["generated"], name="generate", body=body)],
        "generate",
        [info("tokens", int64, [1, 16])],
        [info("generated", int64, [1, 16])],
        [*step.graph.initializer, *(onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items())],
    )
    made = helper.make_model(graph, opset_imports=step.opset_import, ir_version=step.ir_version)
    onnx.save(made, path)


def _quantized(path: Path) -> None:
    """A ResNet of four bottlenecks, statically quantized to 8 bits with QuantizeLinear and DequantizeLinear pairs."""
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, ready = path.with_suffix(".float.onnx"), path.with_suffix(".ready.onnx")
    _torch(_resnet((1, 1, 1, 1), 100), (torch.randn(1, 3, 64, 64),), plain, False)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.batches = iter({"input_0": rng.normal(size=(1, 3, 64, 64)).astype(np.float32)} for _ in range(4))

        def get_next(self) -> Any:
            return next(self.batches, None)

    with _quietly():
        quant_pre_process(str(plain), str(ready))
        quantize_static(
            str(ready), str(path), Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, per_channel=True,
        )  # fmt: skip
    plain.unlink()
    ready.unlink()


def _keras(path: Path) -> None:
    """A Keras CNN with batch normalization, a residual and a depthwise convolution, by tf2onnx."""
    with _quietly():
        tf, tf2onnx = _tensorflow()
        layers = tf.keras.layers
        x = image = tf.keras.Input((64, 64, 3), batch_size=1, name="image")
        for block, width in enumerate((32, 64, 128)):
            x = layers.Conv2D(width, 3, 2, "same", use_bias=False, name=f"block{block}_conv")(x)
            x = layers.BatchNormalization(name=f"block{block}_bn")(x)
            x = kept = layers.ReLU(name=f"block{block}_relu")(x)
            x = layers.DepthwiseConv2D(3, padding="same", name=f"block{block}_depthwise")(x)
            x = layers.Conv2D(width, 1, activation="relu", name=f"block{block}_project")(x)
            x = layers.Add(name=f"block{block}_add")([x, kept])
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        model = tf.keras.Model(image, layers.Dense(10, activation="softmax", name="head")(x))
        signature = [tf.TensorSpec((1, 64, 64, 3), tf.float32, name="image")]
        tf2onnx.convert.from_function(
            tf.function(lambda image: model(image)), signature, opset=OPSET, output_path=str(path)
        )


def _tf_loop(path: Path) -> None:
    """A ``tf.function`` whose GRU cell runs in a ``tf.while_loop``."""
    with _quietly():
        tf, tf2onnx = _tensorflow()
        rng = np.random.default_rng(0)
        cell_w = tf.constant(rng.normal(size=(192, 256)).astype(np.float32) * 0.05)
        cell_c = tf.constant(rng.normal(size=(192, 128)).astype(np.float32) * 0.05)
        head = tf.constant(rng.normal(size=(128, 10)).astype(np.float32) * 0.1)

        def step(i: Any, state: Any, x: Any) -> Any:
            with tf.name_scope("gru"):
                now = tf.concat([x[:, i], state], 1)
                reset, update = tf.split(tf.sigmoid(now @ cell_w), 2, 1)
                fresh = tf.tanh(tf.concat([x[:, i], reset * state], 1) @ cell_c)
            return i + 1, update * state + (1 - update) * fresh, x

        def run(x: Any) -> Any:
            start = (tf.constant(0), tf.zeros((8, 128)), x)
            _, state, _ = tf.while_loop(lambda i, s, x: i < 12, step, start)
            with tf.name_scope("head"):
                return tf.nn.softmax(state @ head)

        signature = [tf.TensorSpec((8, 12, 64), tf.float32, name="x")]
        tf2onnx.convert.from_function(tf.function(run), signature, opset=OPSET, output_path=str(path))


def _tensorflow() -> tuple[Any, Any]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    import tf2onnx

    return tf, tf2onnx


MODELS: dict[str, Callable[[Path], None]] = {
    "resnet50, torch dynamo": lambda path: _resnet50(path, True),
    "resnet50, torch script": lambda path: _resnet50(path, False),
    "bilstm, torch dynamo": lambda path: _bilstm(path, True),
    "bilstm, torch script": lambda path: _bilstm(path, False),
    "bert, torch dynamo": lambda path: _bert(path, True),
    "bert, torch script": lambda path: _bert(path, False),
    "gpt in a loop, torch dynamo": _gpt_loop,
    "quantized resnet, QDQ": _quantized,
    "cnn, keras and tf2onnx": _keras,
    "gru in a while loop, tf2onnx": _tf_loop,
}
"""Name to what writes the graph."""
