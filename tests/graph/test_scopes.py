"""Layers of third-party graphs; the names are those that the exporters write."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from fathom_onnx.graph.bodies import numbered
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.graph.scopes import ROOT, layers_of, onnxruntime_quantizer, tensorflow, torch_dynamo, torch_script
from support.graphs.small_models import op


def scoped(scopes: str, name: str = "node_linear") -> onnx.NodeProto:
    node = op("Gemm", "x w", "y", name)
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", scopes
    return node


@pytest.mark.parametrize(
    ("scopes", "layer"),
    [
        ("['', 'layer.0', 'layer.0.attention', 'layer.0.attention.query', 'linear']", "layer.0.attention.query"),
        ("['', 'layer.0', 'layer.0.attention', 'transpose']", "layer.0.attention"),
        ("['', 'layer1', 'layer1.0', 'layer1.0.bn1', '_native_batch_norm_legit_no_training_1']", "layer1.0.bn1"),
        ("['', 'lstm', 'lstm']", "lstm"),
        ("['', 'add']", ROOT),
        ("not a list", None),
        ("{'a': 1}", None),
        ("[]", None),
    ],
)
def test_dynamo_exporter(scopes: str, layer: str | None) -> None:
    assert torch_dynamo(scoped(scopes)) == layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("/conv1/Conv", "conv1"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/layer1/layer1.0/downsample/downsample.0/Conv", "layer1.0.downsample.0"),
        ("/layer.0/attention/query/MatMul", "layer.0.attention.query"),
        ("/encoder/layer.0/attention/self/query/MatMul", "encoder.layer.0.attention.self.query"),
        ("/bert/encoder/layer.11/output/LayerNorm/LayerNormalization", "bert.encoder.layer.11.output.LayerNorm"),
        ("/model/layers.3/self_attn/q_proj/MatMul", "model.layers.3.self_attn.q_proj"),
        ("/layer4/layer4.0/bn3/BatchNormalization_output_0_DequantizeLinear", "layer4.0.bn3"),
        ("/Add", ROOT),
        ("Identity_54", None),
        ("", None),
    ],
)
def test_script_exporter_and_hugging_face(name: str, layer: str | None) -> None:
    assert torch_script(op("Conv", "x w", "y", name)) == layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("functional_1/block0_project_1/convolution", "functional_1/block0_project_1"),
        ("functional_1/block0_bn_1/batchnorm/mul_1__6", "functional_1/block0_bn_1"),
        ("StatefulPartitionedCall/model/conv1/Conv2D", "model/conv1"),
        ("StatefulPartitionedCall/StatefulPartitionedCall_1/model/conv1/BiasAdd", "model/conv1"),
        ("model/conv1/Conv2D", "model/conv1"),
        ("while/gru/strided_slice_1/stack_1_Concat__33", "while/gru"),
        (
            "tf_bert_model/bert/encoder/layer_._0/attention/self/query/Tensordot/MatMul",
            "tf_bert_model/bert/encoder/layer_._0/attention/self/query",
        ),
        ("head/matmul", "head"),
        ("while_loop", None),
        ("StatefulPartitionedCall/Identity", None),
    ],
)
def test_tensorflow_and_keras(name: str, layer: str | None) -> None:
    assert tensorflow(op("Conv", "x w", "y", name)) == layer


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("fc.weight_DequantizeLinear", "fc"),
        ("fc.bias_quantized_DequantizeLinear", "fc"),
        ("ConvBnFusion_W_layer1.0.conv3.weight_DequantizeLinear", "layer1.0.conv3"),
        ("ConvBnFusion_BN_B_layer2.0.bn1.bias_DequantizeLinear", "layer2.0.bn1"),
        ("input_0_QuantizeLinear", None),
        ("onnx::Conv_161_DequantizeLinear", None),
    ],
)
def test_quantizer(name: str, layer: str | None) -> None:
    assert onnxruntime_quantizer(op("DequantizeLinear", "x s", "y", name)) == layer


def test_further_calls_of_a_module_are_the_module() -> None:
    nodes = [
        op("Relu", "a", "b", "/block/relu/Relu"),
        op("Relu", "b", "c", "/block/relu_1/Relu"),
        op("Conv", "c block.conv.weight", "d", "/block/conv/Conv"),
        op("Conv", "d block.conv_1.weight", "e", "/block/conv_1/Conv"),
        op("Relu", "e", "f", "/block/act_1/Relu"),
    ]
    assert layers_of(nodes) == ["block.relu", "block.relu", "block.conv", "block.conv_1", "block.act_1"]


def test_metadata_comes_before_names_and_addresses_before_both() -> None:
    other, address = "/other/path/Gemm", "backward/fc/MatMul"
    scopes = "['', 'head', 'linear']"

    def labelled(*names: str) -> list[tuple[str, str, str]]:
        nodes = [*(scoped(scopes, name) for name in names), op("Relu", "a", "b", "lonely")]
        labels = label_nodes(numbered(helper.make_graph(nodes, "g", [], [])))
        return [(label.phase, label.layer, label.op_class) for label in labels]

    ours, theirs, lonely = ("backward", "fc", "B"), ("forward", "head", "B"), ("forward", "lonely", "A")
    assert labelled(other, address, address, address) == [theirs, ours, ours, ours, lonely]
    # a graph of someone else's, in which one name happens to read like an address
    assert labelled(other, address, other) == [theirs, theirs, theirs, lonely]
    assert labelled(other, "backward/fc/BatchNorm") == [theirs, theirs, lonely]
