"""The TensorFlow exporter: the built-in workloads end to end, and the translation on small steps made here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
ort = pytest.importorskip("onnxruntime")

from fathom_exporters.lowering import DOMAIN, Tag, finish  # noqa: E402
from fathom_exporters.tensorflow import TensorFlowExporter  # noqa: E402
from fathom_exporters.tensorflow.capture import capture  # noqa: E402
from fathom_exporters.tensorflow.fold import fold  # noqa: E402
from fathom_exporters.tensorflow.layers import local_response_norm  # noqa: E402
from fathom_exporters.tensorflow.models import TENSORFLOW  # noqa: E402
from fathom_exporters.tensorflow.reference import TensorFlowReference  # noqa: E402
from fathom_exporters.tensorflow.translate import translate  # noqa: E402
from fathom_exporters.tensorflow.translate.convert import HANDLERS  # noqa: E402
from fathom_exporters.tensorflow.translate.ops import CANONICAL_OF, MOVED_AWAY  # noqa: E402
from fathom_onnx.errors import ExportError  # noqa: E402
from fathom_onnx.exporting import ExportRequest  # noqa: E402
from fathom_onnx.graph import Address  # noqa: E402
from fathom_onnx.vocabulary import OPS  # noqa: E402
from fathom_onnx.workloads import workload  # noqa: E402
from fathom_onnx.workloads.contract import Adam, Draw, Initialiser, Layer, Noise, TensorSpec, Variable, Workload  # noqa: E402
from support.tensorflow_values import values_of  # noqa: E402

EXPORTER = TensorFlowExporter()


def run(proto, values):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {i.name: np.asarray(values[i.name]) for i in session.get_inputs()}
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, fed), strict=True))


@pytest.fixture(scope="module")
def exported():
    """Export of (workload, mode, noise), each made once."""
    made = {}

    def get(name, mode, noise="graph"):
        if (name, mode, noise) not in made:
            made[name, mode, noise] = EXPORTER.export(ExportRequest(workload(name, "tiny"), mode, noise))
        return made[name, mode, noise]

    return get


# --- the built-in workloads


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ["autoenc", "residual", "vgg", "alexnet"])
def test_the_graph_gives_what_tensorflow_gives(exported, name, mode):
    w, values = values_of(name, mode)
    got = run(exported(name, mode, "input"), values)
    single = EXPORTER.reference(w, mode, "float32").step(values)
    branches = {layer: kink.branches for layer, kink in single.kinks.items()}
    want = EXPORTER.reference(w, mode, "float64").step(values, branches).outputs
    assert list(got) == [spec.name for spec in w.interface(mode, "input").outputs]
    for key, value in want.items():
        assert got[key].shape == value.shape
        assert np.isfinite(got[key]).all()
        tolerance = 1e-5 if key == "loss" else 1e-4
        assert np.abs(got[key] - value).max() <= tolerance * np.abs(value).max(), key


def test_noise_is_drawn_in_the_graph_without_a_seed(exported):
    proto = exported("autoenc", "training")
    draws = [node for node in proto.graph.node if node.op_type == "RandomNormal"]
    assert [node.name for node in draws] == ["forward/sample/RandomNormal"]
    assert "seed" not in {a.name for a in draws[0].attribute}
    assert "noise" not in {i.name for i in proto.graph.input}
    _, values = values_of("autoenc", "training")
    assert run(proto, values)["loss"] != run(exported("autoenc", "training", "input"), values)["loss"]


def test_addresses_of_residual_follow_its_layers(exported):
    w = workload("residual", "tiny")
    kinds = {layer.name: layer.kind for layer in w.layers}
    proto = exported("residual", "training")
    places = {(a.phase, a.scope, a.op) for a in (Address.parse(node.name) for node in proto.graph.node)}
    for layer, kind in kinds.items():
        wanted = {
            "convolution": [("forward", "Conv2D"), ("backward", "Conv2DBackFilter"), ("backward", "Conv2DBackInput")],
            "batch norm": [("forward", "BatchNormTraining"), ("backward", "BatchNormGrad")],
            "relu": [("forward", "Relu"), ("backward", "ReluGrad")],
            "max pool": [("forward", "MaxPool"), ("backward", "MaxPoolGrad")],
            "residual addition": [("forward", "Add")],
            "global average pool": [("forward", "Mean"), ("backward", "Tile")],
            "linear": [("forward", "MatMul"), ("backward", "MatMul"), ("backward", "Sum")],
        }[kind]
        if layer == "conv1":
            wanted = wanted[:2]  # nothing asks for the gradient of the images
        for phase, op in wanted:
            assert (phase, layer, op) in places
    # where an activation is read twice, the sum of its gradients is its own layer's
    sums = {scope for phase, scope, op in places if (phase, op) == ("backward", "Add")}
    assert {"maxpool", "layer1.0.relu2", "layer2.0.relu2", "layer3.0.relu2"} <= sums
    optimizer = {(scope, op) for phase, scope, op in places if phase == "optimizer"}
    assert optimizer == {(scope, "ApplyAdam") for scope in ("step", *(p.name for p in w.parameters))}
    assert {op for phase, _, op in places if phase == "loss"} == {"CrossEntropy", "Mean"}


def test_addresses_of_alexnet_follow_its_layers(exported):
    places = {
        (a.phase, a.scope, a.op)
        for a in (Address.parse(node.name) for node in exported("alexnet", "training").graph.node)
    }
    for layer in ("norm1", "norm2"):
        assert {(p, op) for p, scope, op in places if scope == layer} == {("forward", "LRN"), ("backward", "LRNGrad")}
    forward = {("forward", op) for op in ("RandomUniform", "Compare", "Cast", "Mul")}
    for layer in ("dropout6", "dropout7"):
        assert {(p, op) for p, scope, op in places if scope == layer} == {*forward, ("backward", "Mul")}


@pytest.mark.parametrize("name", ["vgg", "alexnet"])
def test_inference_of_the_plain_classifiers_is_the_network_and_nothing_else(exported, name):
    kinds = [Address.parse(node.name).op for node in exported(name, "inference").graph.node]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    expected = {"Reshape": 1, "MatMul": 3}
    if name == "vgg":
        expected |= {"Conv2D": 16, "Relu": 18, "MaxPool": 5}
    else:
        expected |= {"Conv2D": 5, "Relu": 7, "MaxPool": 3, "LRN": 2}
    assert counts == expected


def test_gradient_sums_of_autoenc_are_of_the_layers_they_flow_into(exported):
    sums = {
        node.name.split("/")[1]
        for node in exported("autoenc", "training").graph.node
        if node.name.startswith("backward/") and node.name.split("/")[2] == "Add" and "loss" not in node.name
    }
    assert sums == {"encoder.softplus", "encoder.mean", "encoder.log_variance", "decoder.output"}


@pytest.mark.parametrize("name", ["residual", "vgg", "alexnet"])
def test_layouts_leave_no_transposes_of_their_own(exported, name):
    assert all(node.op_type != "Transpose" for node in exported(name, "inference").graph.node)
    own = [
        node.name
        for node in exported(name, "training").graph.node
        if node.op_type == "Transpose" and node.name.split("/")[2] not in ("Conv2DBackFilter", "Conv2DBackInput")
    ]
    assert own == []


def test_inference_of_residual_is_the_network_and_nothing_else(exported):
    nodes = exported("residual", "inference").graph.node
    counts = {kind: sum(node.op_type == kind for node in nodes) for kind in {node.op_type for node in nodes}}
    assert counts == {
        "Conv": 12,
        "BatchNormalization": 12,
        "Relu": 9,
        "MaxPool": 1,
        "Add": 4,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }
    for node in nodes:
        if node.op_type == "Conv":
            assert {a.name for a in node.attribute} >= {"kernel_shape", "pads", "strides", "dilations", "group"}


def test_phases_are_in_the_order_of_the_step(exported):
    phases = [node.name.split("/")[0] for node in exported("autoenc", "training").graph.node]
    assert phases == sorted(phases, key=["forward", "loss", "backward", "optimizer"].index)


def test_an_export_is_the_same_each_time(exported):
    again = EXPORTER.export(ExportRequest(workload("autoenc", "tiny"), "training"))
    assert again.SerializeToString(deterministic=True) == exported("autoenc", "training").SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize(
    ("name", "mode"), [("residual", "training"), ("autoenc", "training"), ("autoenc", "inference")]
)
def test_the_translation_is_tagged_and_static(name, mode):
    w = workload(name, "tiny")
    translated = translate(capture(w, TENSORFLOW.model(name), mode, "graph"))
    for node in translated.graph:
        tag = Tag.of(node)
        assert tag is not None
        assert tag.op in OPS
        assert node.op_type not in ("Identity", "Cast", "Shape")
        for value in node.outputs:
            assert value.shape is not None
            assert value.shape.is_static()
    private = [node.op_type for node in translated.graph if node.domain == DOMAIN]
    if name == "residual":
        counts = {kind: private.count(kind) for kind in set(private)}
        assert counts == {
            "BatchNormTraining": 12,
            "BatchNormGrad": 12,
            "Conv2DBackFilter": 12,
            "Conv2DBackInput": 11,
            "ReluGrad": 9,
            "MaxPoolGrad": 1,
            "CrossEntropy": 1,
        }
    else:
        assert private == []  # TensorFlow writes the gradient of softplus as a sigmoid and a product


# --- the package


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_an_export_prints_nothing():
    done = python(
        "from fathom_onnx.exporting import ExportRequest, find_exporter\n"
        "from fathom_onnx.workloads import workload\n"
        "w = workload('autoenc', 'tiny')\n"
        "exporter = find_exporter('tensorflow')\n"
        "exporter.export(ExportRequest(w, 'training'))\n"
        "inputs = {s.name: s.draw.sample(s.shape, s.dtype, __import__('numpy').random.default_rng(0))"
        " for s in w.interface('inference', 'input').inputs}\n"
        "exporter.reference(w, 'inference', 'float32').step(inputs)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_tensorflow_the_exporter_says_how_to_get_it():
    done = python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "from fathom_onnx.errors import MissingDependencyError\n"
        "from fathom_onnx.exporting import find_exporter\n"
        "try:\n    find_exporter('tensorflow')\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    assert "pip install 'fathom-onnx[tensorflow]'" in done.stdout
    assert "framework 'tensorflow'" in done.stdout


def test_the_tables_speak_the_vocabulary():
    assert set(CANONICAL_OF.values()) <= set(OPS)
    assert set(HANDLERS) <= set(CANONICAL_OF) | {"FusedBatchNormV3"}
    assert not MOVED_AWAY & set(CANONICAL_OF)


# --- small steps made here


@dataclass(frozen=True)
class ToyConfig:
    classes: int = 3


def toy(forward, features, parameters=(), *, layers=("body",), noise=(), outputs=("y",), shapes=((),)):
    """A workload and model of a few operations: ``forward(net, values)`` gives the outputs in order."""
    w = Workload(
        name="toy",
        preset="tiny",
        config=ToyConfig(),
        features=tuple(TensorSpec(name, shape, draw=Draw("normal")) for name, shape in features.items()),
        targets=(),
        noise={"inference": noise, "training": noise},
        parameters=tuple(Variable(name, shape, Initialiser("normal", 1.0)) for name, shape in dict(parameters).items()),
        buffers=(),
        outputs=tuple(TensorSpec(name, shape) for name, shape in zip(outputs, shapes, strict=True)),
        layers=tuple(Layer(name, "toy") for name in layers),
        optimizer=Adam(1e-2),
    )

    def made(net, config, batch):
        results = forward(net, {**batch, **net.variables})
        return dict(zip(outputs, results, strict=True))

    def loss(net, config, results, batch):
        return tf.add_n([tf.reduce_sum(tf.square(tf.cast(r, r.dtype))) for r in results.values()])

    return w, SimpleNamespace(forward=made, loss=loss)


def export_toy(w, m, mode="inference", noise="input"):
    return finish(translate(capture(w, m, mode, noise)), ExportRequest(w, mode, noise), "tensorflow", "0")


def draw(w, mode, positive=False):
    rng = np.random.default_rng(5)
    values = {s.name: s.draw.sample(s.shape, s.dtype, rng) for s in w.interface(mode, "input").inputs}
    values |= w.initial_values(mode, 7)
    for key, value in values.items():
        if positive or key.endswith(".adam_v"):
            values[key] = np.abs(value) + np.float32(0.5)
    return {key: np.asarray(value) for key, value in values.items()}


def check_toy(w, m, mode="training", positive=False):
    values = draw(w, mode, positive)
    proto = export_toy(w, m, mode)
    got = run(proto, values)
    want = TensorFlowReference(w, m, mode, "float64").step(values).outputs
    for key, value in want.items():
        np.testing.assert_allclose(got[key], value, rtol=2e-4, atol=2e-5 * (1 + np.abs(value).max()), err_msg=key)
    return proto


POINTWISE = {
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "softplus": tf.nn.softplus,
    "relu": tf.nn.relu,
    "exp": tf.exp,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "reciprocal": tf.math.reciprocal,
    "square": tf.square,
    "abs": tf.abs,
    "pow": lambda x: tf.pow(x, 3.0),
    "maximum": lambda x: tf.maximum(x, 1.0),
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.log_softmax,
    "choice": lambda x: tf.where(x > 1, x * 2, tf.square(x)),
    "sum": lambda x: x / tf.reduce_sum(x, -1, keepdims=True),
    "largest": lambda x: x - tf.reduce_max(x, 1, keepdims=True),
    "mean": lambda x: x * tf.reduce_mean(x),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_operations_and_their_gradients(name):
    def forward(net, v):
        with net.scope("body"):
            return [POINTWISE[name](v["x"] * v["body.weight"])]

    w, m = toy(forward, {"x": (4, 5)}, {"body.weight": (4, 5)}, shapes=((4, 5),))
    check_toy(w, m, positive=True)


MOVES = {
    "concat": lambda x, y: tf.concat([x, y, x], 1),
    "stack": lambda x, y: tf.stack([x, y], 1),
    "slice": lambda x, y: x[1:3, ::2] + y[0:2, 0:3],
    "split": lambda x, y: tf.split(x, [2, 3], 1)[1] * tf.unstack(y, axis=1)[0][:, None],
    "tile": lambda x, y: tf.tile(x, [2, 3]),
    "broadcast": lambda x, y: tf.broadcast_to(x[:1], [4, 5]) + y,
    "transpose": lambda x, y: tf.transpose(tf.reshape(x, [2, 2, 5]), [2, 0, 1]),
    "pad": lambda x, y: tf.pad(x, [[1, 0], [0, 2]]),
    "product": lambda x, y: tf.matmul(x, y, transpose_a=True) + tf.matmul(y[:, :4], x[:, :4])[0, 0],
    "batched": lambda x, y: tf.matmul(tf.reshape(x, [2, 2, 5]), tf.reshape(y, [2, 2, 5]), transpose_b=True),
    "bias": lambda x, y: tf.nn.bias_add(x, y[0]),
    "rows": lambda x, y: tf.compat.v1.where(x[:, 0] > 0, x, y),
    "gather": lambda x, y: tf.gather(x, [2, 0], axis=0),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_products_and_choices(name):
    shape = tuple(MOVES[name](tf.zeros((4, 5)), tf.zeros((4, 5))).shape)

    def forward(net, v):
        with net.scope("body"):
            return [MOVES[name](v["x"], v["z"])]

    w, m = toy(forward, {"x": (4, 5), "z": (4, 5)}, shapes=(shape,))
    check_toy(w, m, "inference")


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "channels"),
    [(3, 2, "SAME", 2), (3, 2, "VALID", 2), (1, 2, "VALID", 4), (5, 3, "SAME", 4)],
)
def test_convolutions_and_their_gradients(kernel, stride, padding, channels):
    def forward(net, v):
        x = net.image(v["x"] * v["first.weight"])
        with net.scope("body"):
            filters = tf.transpose(v["body.weight"], (2, 3, 1, 0))
            return [net.nchw(tf.nn.conv2d(x, filters, stride, padding, net.data_format))]

    size = tuple(tf.nn.conv2d(tf.zeros((2, 9, 8, 4)), tf.zeros((kernel, kernel, channels, 6)), stride, padding).shape)
    w, m = toy(
        forward,
        {"x": (2, 4, 9, 8)},
        {"first.weight": (2, 4, 9, 8), "body.weight": (6, channels, kernel, kernel)},
        layers=("first", "body"),
        shapes=((size[0], size[3], *size[1:3]),),
    )
    values = draw(w, "inference")
    got = run(export_toy(w, m), values)
    want = TensorFlowReference(w, m, "inference", "float64").step(values).outputs
    np.testing.assert_allclose(got["y"], want["y"], rtol=1e-4, atol=1e-4)
    if channels == 4:  # TensorFlow's CPU kernels have no gradient of grouped convolutions to compare with
        check_toy(w, m)


@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(5, 0.2, 0.75, 2.0), (3, 0.9, 0.4, 0.7)])
def test_local_response_norm_and_its_gradient(size, alpha, beta, k):
    """With an alpha at which the norm changes what it is given, unlike the 1e-4 of alexnet."""

    def forward(net, v):
        x = net.image(v["x"] * v["first.weight"])
        return [net.nchw(local_response_norm(net, "body", x, size, k, alpha, beta))]

    shape = (2, 7, 3, 4)
    w, m = toy(forward, {"x": shape}, {"first.weight": shape}, layers=("first", "body"), shapes=(shape,))
    kinds = {node.op_type for node in check_toy(w, m).graph.node if node.name.startswith("forward")}
    assert kinds == {"Mul", "LRN"}
    # TensorFlow's own kernels as well, which work in single precision only
    values = draw(w, "training")
    single, double = (
        TensorFlowReference(w, m, "training", dtype).step(values).outputs for dtype in ("float32", "float64")
    )
    for key, value in double.items():
        np.testing.assert_allclose(single[key], value, rtol=1e-4, atol=1e-6 * (1 + np.abs(value).max()), err_msg=key)


@pytest.mark.parametrize(("distribution", "op"), [("normal", "RandomNormal"), ("uniform", "RandomUniform")])
def test_two_draws_of_the_same_shape_stay_two(distribution, op):
    noise = (Noise("first", (40, 30), distribution), Noise("second", (40, 30), distribution))

    def forward(net, v):
        with net.scope("body"):
            return [net.draw("first") - net.draw("second")]

    w, m = toy(forward, {"x": (4, 3)}, noise=noise, shapes=((40, 30),))
    proto = export_toy(w, m, noise="graph")
    assert [node.op_type for node in proto.graph.node] == [op, op, "Sub"]
    # independent: the deviation of the difference is sqrt(2) times that of one, 1 or sqrt(1/12)
    deviation = run(proto, draw(w, "inference"))["y"].std()
    assert deviation == pytest.approx(np.sqrt(2 if distribution == "normal" else 1 / 6), rel=0.15)


def test_what_is_made_outside_a_layer_goes_with_its_neighbour():
    def forward(net, v):
        with net.scope("first"):
            x = v["x"] * v["first.weight"]
        x = tf.exp(x)  # in no scope
        with net.scope("second"):
            return [x * v["second.weight"]]

    w, m = toy(
        forward,
        {"x": (4, 3)},
        {"first.weight": (4, 3), "second.weight": (4, 3)},
        layers=("first", "second"),
        shapes=((4, 3),),
    )
    names = {node.name for node in check_toy(w, m).graph.node}
    assert "forward/first/Exp" in names
    strays = {name for name in names if name.startswith("backward/") and name.split("/")[1] not in ("second", "loss")}
    assert strays == {"backward/first/Mul/Mul_1", "backward/first/Mul/Mul_2"}


def test_a_sum_that_an_addition_hands_on_is_of_the_addition():
    """Gradient sum of an addition's output, which TensorFlow gives to both of its inputs as it is."""

    def forward(net, v):
        with net.scope("left"):
            left = tf.tanh(v["x"] * v["left.weight"])
        with net.scope("right"):
            right = tf.sigmoid(v["x"] * v["right.weight"])
        with net.scope("join"):
            both = left + right
        with net.scope("up"):
            up = tf.exp(-both)
        with net.scope("down"):
            return [up * tf.tanh(both)]

    w, m = toy(
        forward,
        {"x": (4, 3)},
        {"left.weight": (4, 3), "right.weight": (4, 3)},
        layers=("left", "right", "join", "up", "down"),
        shapes=((4, 3),),
    )
    sums = [n.name for n in check_toy(w, m).graph.node if n.op_type == "Add" and n.name.startswith("backward")]
    assert sums == ["backward/join/Add"]


def test_the_gradient_of_a_shared_parameter_is_summed_in_its_own_layer():
    def forward(net, v):
        with net.scope("first"):
            x = tf.tanh(tf.matmul(v["x"], v["first.weight"]))
        with net.scope("second"):
            return [tf.matmul(x, v["first.weight"])]

    w, m = toy(forward, {"x": (4, 3)}, {"first.weight": (3, 3)}, layers=("first", "second"), shapes=((4, 3),))
    sums = [n.name for n in check_toy(w, m).graph.node if n.op_type == "Add" and n.name.startswith("backward")]
    assert sums == ["backward/first/Add"]


def test_an_operation_of_no_canonical_kind_is_an_error():
    def forward(net, v):
        with net.scope("body"):
            return [tf.math.lgamma(v["x"])]

    w, m = toy(forward, {"x": (4, 3)}, shapes=((4, 3),))
    with pytest.raises(ExportError, match=r"forward/body/Lgamma.*Lgamma.*ops\.py"):
        export_toy(w, m)


def test_an_operation_that_cannot_be_translated_is_an_error_with_its_name():
    def forward(net, v):
        with net.scope("body"):
            return [tf.transpose(tf.nn.relu(v["x"]), tf.cast(v["x"][0, :2], tf.int32))]

    w, m = toy(forward, {"x": (3, 3)}, shapes=((3, 3),))
    with pytest.raises(ExportError, match=r"forward/body/transpose.*input 1 of Transpose is not constant"):
        export_toy(w, m)


def test_images_in_the_wrong_layout_are_an_error():
    def forward(net, v):
        with net.scope("body"):
            return [tf.nn.max_pool2d(v["x"], 2, 2, "VALID")]

    w, m = toy(forward, {"x": (2, 4, 4, 3)}, shapes=((2, 2, 2, 3),))
    with pytest.raises(ExportError, match="NCHW"):
        export_toy(w, m)


def test_what_the_model_leaves_out_is_an_error():
    w, m = toy(lambda net, v: [v["x"] * 2], {"x": (2,)}, {"body.weight": (2,)}, shapes=((2,),))
    with pytest.raises(ExportError, match=r"no gradient of parameter body\.weight"):
        capture(w, m, "training", "graph")
    with pytest.raises(ExportError, match=r"'mul'.*belongs to no layer of toy"):
        export_toy(w, m)
    nothing = SimpleNamespace(forward=lambda net, config, batch: {}, loss=m.loss)
    with pytest.raises(ExportError, match="no output y"):
        capture(w, nothing, "inference", "graph")


def test_folding_keeps_names_and_draws_and_drops_the_rest():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (2, 3), "x")
        size = tf.shape(x, name="size")
        double = tf.multiply(size, 2, name="double")
        noise = tf.random.normal((2, 3), name="noise")
        tf.compat.v1.placeholder(tf.float32, (7,), "unused")
        with tf.control_dependencies([tf.exp(x, name="side")]):
            y = tf.tile(x + noise, double, name="y")
        tf.identity(y, name="out")
    folded = fold(graph.as_graph_def(), ["x", "unused"], ["out"])
    types = {op.name: op.type for op in folded.get_operations()}
    assert types["x"] == types["unused"] == "Placeholder"
    assert types["double"] == "Const"
    assert types["noise/RandomStandardNormal"] == "RandomStandardNormal"
    assert types["y"] == "Tile"
    assert {"size", "side"}.isdisjoint(types)
    assert not any(op.control_inputs for op in folded.get_operations())
    tensor = folded.get_operation_by_name("double").get_attr("value")
    np.testing.assert_array_equal(tf.make_ndarray(tensor), [4, 6])
