"""Networks with published totals, as graphs without weights: each is declared as external data that is not there.

The layers and their sizes are those of the papers and of torchvision and transformers, whose totals are compared.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from fathom_onnx.graph import Graph

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Builder:
    """A graph that grows node by node; a method adds a layer and gives its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int) -> str:
        """A declared weight."""
        name = f"w{len(self.weights)}"
        held = TensorProto(name=name, dims=shape, data_type=FLOAT, data_location=TensorProto.EXTERNAL)
        entry = held.external_data.add()
        entry.key, entry.value = "location", "nowhere"
        self.weights.append(held)
        return name

    def constant(self, values: list[int]) -> str:
        """A small tensor of whole numbers."""
        name = f"w{len(self.weights)}"
        self.weights.append(helper.make_tensor(name, INT64, [len(values)], values))
        return name

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        """A node."""
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"n{len(self.nodes)}", **attributes))
        return output

    def conv(self, x: str, into: int, out: int, size: int, stride: int = 1, bias: bool = False) -> str:
        """A convolution that keeps the image's size but for the stride."""
        weights = [self.weight(out, into, size, size), *([self.weight(out)] if bias else [])]
        return self.add("Conv", x, *weights, pads=[size // 2] * 4, strides=[stride] * 2, kernel_shape=[size] * 2)

    def norm(self, x: str, width: int) -> str:
        """Batch normalisation."""
        return self.add("BatchNormalization", x, *(self.weight(width) for _ in range(4)))

    def dense(self, x: str, into: int, out: int) -> str:
        """A fully connected layer on rows."""
        return self.add("Gemm", x, self.weight(into, out), self.weight(out))

    def project(self, x: str, into: int, out: int) -> str:
        """A fully connected layer on the last axis."""
        return self.add("Add", self.add("MatMul", x, self.weight(into, out)), self.weight(out))

    def layer_norm(self, x: str, width: int) -> str:
        """Layer normalisation over the last axis."""
        return self.add("LayerNormalization", x, self.weight(width), self.weight(width))

    def graph(self, name: str, inputs: dict[str, tuple[int, list[int]]], output: str) -> Graph:
        """The graph, shapes inferred."""
        made = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
            [onnx.ValueInfoProto(name=output)],
            self.weights,
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return Graph(onnx.shape_inference.infer_shapes(model, data_prop=True), name)


def resnet50() -> Graph:
    """He et al. 2015, the stride in the 3x3 convolution as torchvision has it, 224 x 224."""
    b = Builder()
    x = b.add("Relu", b.norm(b.conv("image", 3, 64, 7, 2), 64))
    x = b.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        middle, out = 64 * 2**stage, 256 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = b.add("Relu", b.norm(b.conv(x, width, middle, 1), middle))
            y = b.add("Relu", b.norm(b.conv(y, middle, middle, 3, stride), middle))
            y = b.norm(b.conv(y, middle, out, 1), out)
            if not block:
                x = b.norm(b.conv(x, width, out, 1, stride), out)
            x, width = b.add("Relu", b.add("Add", y, x)), out
    x = b.add("Flatten", b.add("GlobalAveragePool", x))
    return b.graph("resnet50", {"image": (FLOAT, [1, 3, 224, 224])}, b.dense(x, 2048, 1000))


def vgg19() -> Graph:
    """Simonyan and Zisserman 2014, configuration E, 224 x 224."""
    b = Builder()
    x, width = "image", 3
    for out, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            x, width = b.add("Relu", b.conv(x, width, out, 3, bias=True)), out
        x = b.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.add("Flatten", x)
    x = b.add("Relu", b.dense(x, 512 * 7 * 7, 4096))
    x = b.add("Relu", b.dense(x, 4096, 4096))
    return b.graph("vgg19", {"image": (FLOAT, [1, 3, 224, 224])}, b.dense(x, 4096, 1000))


def bert_base(vocabulary: int, length: int = 128) -> Graph:
    """Devlin et al. 2018: 12 layers of width 768, 12 heads, 3072 inside; embeddings and pooler as in transformers."""
    b = Builder()
    width, heads, inside = 768, 12, 3072
    rows = [
        b.add("Gather", b.weight(count, width), name)
        for count, name in ((vocabulary, "tokens"), (2, "segments"), (512, "positions"))
    ]
    x = b.layer_norm(b.add("Add", b.add("Add", rows[0], rows[1]), rows[2]), width)
    split, joined = b.constant([1, length, heads, width // heads]), b.constant([1, length, width])
    for _ in range(12):
        query, key, value = (b.add("Reshape", b.project(x, width, width), split) for _ in range(3))
        scores = b.add(
            "MatMul", b.add("Transpose", query, perm=[0, 2, 1, 3]), b.add("Transpose", key, perm=[0, 2, 3, 1])
        )
        seen = b.add("MatMul", b.add("Softmax", scores, axis=-1), b.add("Transpose", value, perm=[0, 2, 1, 3]))
        seen = b.add("Reshape", b.add("Transpose", seen, perm=[0, 2, 1, 3]), joined)
        x = b.layer_norm(b.add("Add", x, b.project(seen, width, width)), width)
        y = b.project(b.add("Gelu", b.project(x, width, inside)), inside, width)
        x = b.layer_norm(b.add("Add", x, y), width)
    first = b.add("Reshape", b.add("Gather", x, b.constant([0]), axis=1), b.constant([1, width]))
    ids = {name: (INT64, [1, length]) for name in ("tokens", "segments", "positions")}
    return b.graph("bert", ids, b.add("Tanh", b.dense(first, width, width)))
