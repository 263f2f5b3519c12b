"""Recipes of TensorFlow end to end: exported, run in onnxruntime, equal to the step that Keras itself takes."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
keras = pytest.importorskip("keras")

from keras import layers as L  # noqa: E402

from fathom_exporters.tensorflow.recipes import RecipeReference  # noqa: E402
from fathom_onnx.errors import ExportError, UsageError  # noqa: E402
from fathom_onnx.exporting import ExportRequest  # noqa: E402
from fathom_onnx.graph import GraphMetadata  # noqa: E402
from fathom_onnx.recipes import Recipe  # noqa: E402
from support.graphs.keras_recipes import (  # noqa: E402
    EXPORTER,
    eager_step,
    inputs_of,
    largest_error,
    run_graph,
    step_of,
)

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)
MSE = keras.losses.MeanSquaredError()


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(1)


def mlp():
    return keras.Sequential([L.Input((8,)), L.Dense(16, "tanh"), L.Dense(3)])


def recurrent():
    return keras.Sequential([L.Input((6, 4)), L.LSTM(8), L.Dense(3)])


class Module(tf.Module):
    """Without Keras: raw variables, one of them counting the calls."""

    def __init__(self):
        super().__init__()
        self.layers = [tf.Variable(normal(8, 16), name="w"), tf.Variable(normal(16, 3), name="w")]
        self.calls = tf.Variable(0, trainable=False)

    def __call__(self, x):
        self.calls.assign_add(1)
        return tf.nn.relu(x @ self.layers[0]) @ self.layers[1]


def test_the_step_of_a_sequential_model():
    model, batch = mlp(), (normal(4, 8), normal(4, 3))
    workload, _, got = step_of(model, batch, MSE, keras.optimizers.SGD(0.1))
    assert [v.name for v in workload.parameters] == ["dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"]
    assert [v.name for v in workload.frozen] == ["optimizer.learning_rate"]
    assert [s.name for s in workload.features] == ["inputs"]
    assert [s.name for s in workload.targets] == ["targets"]
    before = [np.array(v) for v in model.trainable_variables]
    loss = eager_step(model, batch, MSE, keras.optimizers.SGD(0.1), model.trainable_variables)
    assert got["loss"] == pytest.approx(loss, rel=1e-6)
    for parameter, variable, old in zip(workload.parameters, model.trainable_variables, before, strict=True):
        change = np.array(variable) - old
        assert largest_error(got[parameter.next.name] - old, change) < 1e-5
    assert int(got["optimizer.iteration.next"]) == 1


def test_exporting_changes_neither_the_model_nor_the_optimizer():
    model, optimizer = mlp(), keras.optimizers.Adam()
    before = [np.array(v) for v in model.variables]
    step_of(model, (normal(4, 8), normal(4, 3)), MSE, optimizer)
    assert not optimizer.built
    assert len(optimizer.variables) == 2
    assert all((np.array(v) == old).all() for v, old in zip(model.variables, before, strict=True))
    assert model.losses == []


def test_an_optimizer_goes_on_from_the_state_that_it_has():
    model, batch = mlp(), (normal(4, 8), normal(4, 3))
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    eager_step(model, batch, MSE, optimizer, model.trainable_variables)
    workload, values, got = step_of(model, batch, MSE, optimizer)
    assert int(values["optimizer.iteration"]) == 1
    assert np.abs(values["dense.kernel.momentum"]).max() > 0
    eager_step(model, batch, MSE, optimizer, model.trainable_variables)
    for parameter, variable in zip(workload.parameters, model.trainable_variables, strict=True):
        assert largest_error(got[parameter.next.name], variable) < 1e-6


@pytest.mark.parametrize("make", [recurrent, Module])
def test_steps_of_other_models(make):
    model = make()
    batch = (normal(4, 6, 4) if make is recurrent else normal(4, 8), normal(4, 3))
    workload, _, got = step_of(model, batch, MSE, keras.optimizers.SGD(0.1))
    parameters = list(model.trainable_variables)
    loss = eager_step(model, batch, MSE, keras.optimizers.SGD(0.1), parameters)
    assert got["loss"] == pytest.approx(loss, rel=1e-6)
    for parameter, variable in zip(workload.parameters, parameters, strict=True):
        assert largest_error(got[parameter.next.name], variable) < 1e-6


def test_names_and_state_of_a_module():
    workload, values, got = step_of(Module(), (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD(0.1))
    assert [v.name for v in workload.parameters] == ["layers.0", "layers.1"]
    assert [v.name for v in workload.buffers] == ["calls"]
    assert int(got["calls.next"]) == int(values["calls"]) + 1


def test_several_inputs_outputs_losses_and_weights():
    a, b = L.Input((4,), name="left"), L.Input((5,))
    joined = L.Concatenate()([L.Dense(6, name="first")(a), b])
    model = keras.Model([a, b], {"x": L.Dense(2, name="x")(joined), "y": L.Dense(1, name="y")(joined)})
    losses = {"x": "mse", "y": "mae"}
    x, y = [normal(3, 4), normal(3, 5)], {"x": normal(3, 2), "y": normal(3, 1)}
    weights = {"x": np.array([1, 2, 3], "float32"), "y": np.array([0, 1, 0.5], "float32")}
    workload, _, got = step_of(model, (x, y, weights), losses, keras.optimizers.SGD(0.1))
    assert [s.name for s in workload.features] == ["left", "inputs.1"]
    assert [s.name for s in workload.targets] == ["targets.x", "targets.y", "sample_weight.x", "sample_weight.y"]
    assert [s.name for s in workload.outputs] == ["x", "y"]
    assert [p.name for p in workload.parameters[:2]] == ["first.kernel", "first.bias"]
    outputs = {name: np.asarray(value) for name, value in model(x).items()}
    squares = ((outputs["x"] - y["x"]) ** 2).mean(1) * weights["x"]
    distances = np.abs(outputs["y"] - y["y"]).mean(1) * weights["y"]
    assert got["loss"] == pytest.approx(squares.mean() + distances.mean(), rel=1e-5)


def test_a_compiled_model_brings_its_loss_and_optimizer():
    model, batch = mlp(), (normal(4, 8), normal(4, 3))
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    workload, _, got = step_of(model, batch)
    assert got["loss"] == pytest.approx(float(model.train_on_batch(*batch)[0]), rel=1e-6)
    for parameter, variable in zip(workload.parameters, model.trainable_variables, strict=True):
        assert largest_error(got[parameter.next.name], variable) < 1e-6
    assert [v.name for v in workload.buffers] == []  # metrics are no state of the step


def test_what_layers_add_to_the_loss_counts():
    model = keras.Sequential([L.Input((8,)), L.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))])
    batch = (normal(4, 8), normal(4, 3))
    _, values, got = step_of(model, batch, MSE, keras.optimizers.SGD(0.1))
    plain = ((batch[0] @ values["dense.kernel"] - batch[1]) ** 2).mean()
    assert got["loss"] == pytest.approx(plain + 0.5 * (values["dense.kernel"] ** 2).sum(), rel=1e-5)


def test_parts_of_a_batch_add_up_to_its_step():
    model, batch = mlp(), (normal(4, 8), normal(4, 3))
    workload, _, whole = step_of(model, batch, MSE, keras.optimizers.SGD(0.1))
    _, _, parts = step_of(model, batch, MSE, keras.optimizers.SGD(0.1), accumulate=2)
    for name in ("loss", *(p.next.name for p in workload.parameters)):
        assert largest_error(parts[name], whole[name]) < 1e-6
    with pytest.raises(UsageError, match="cannot be cut into 3"):
        EXPORTER.workload(Recipe(model, batch, MSE, keras.optimizers.SGD(0.1), accumulate=3))


def test_layers_that_are_not_trained_are_frozen():
    model, batch = mlp(), (normal(4, 8), normal(4, 3))
    model.layers[0].trainable = False
    workload, _, _ = step_of(model, batch, MSE, keras.optimizers.SGD(0.1))
    assert [p.name for p in workload.parameters] == ["dense_1.kernel", "dense_1.bias"]
    assert {"dense.kernel", "dense.bias"} < {v.name for v in workload.frozen}
    inference = inputs_of(workload, "inference")
    assert set(inference) == {"inputs", *(f"{d}.{v}" for d in ("dense", "dense_1") for v in ("kernel", "bias"))}
    output = run_graph(workload, inference, "inference")["output"]
    assert largest_error(output, model(batch[0])) < 1e-6


def test_inference_without_an_optimizer():
    model, x = mlp(), normal(4, 8)
    workload = EXPORTER.workload(Recipe(model, x))
    output = run_graph(workload, inputs_of(workload, "inference"), "inference")["output"]
    assert largest_error(output, model(x)) < 1e-6
    with pytest.raises(UsageError, match="no optimizer"):
        EXPORTER.export(ExportRequest(workload, "training"))


def test_noise_as_inputs_and_in_the_graph():
    model = keras.Sequential([L.Input((8,)), L.Dropout(0.5), L.GaussianNoise(0.5), L.Dense(3)])
    workload, values, got = step_of(model, (np.ones((4, 8), "float32"), normal(4, 3)), MSE, keras.optimizers.SGD(0.1))
    assert [(n.name, n.shape, n.distribution) for n in workload.noise["training"]] == [
        ("dropout.noise", (4, 8), "uniform"),
        ("gaussian_noise.noise", (4, 8), "normal"),
    ]
    assert workload.noise["inference"] == ()
    kept = np.where(values["dropout.noise"] >= 0.5, 2.0, 0.0) + 0.5 * values["gaussian_noise.noise"]
    predicted = kept @ values["dense.kernel"]
    assert got["loss"] == pytest.approx(((predicted - values["targets"]) ** 2).mean(), rel=1e-5)
    drawn = EXPORTER.export(ExportRequest(workload, "training", "graph"))
    assert {"RandomUniform", "RandomNormal"} <= {n.op_type for n in drawn.graph.node}
    assert "dropout.noise" not in {i.name for i in drawn.graph.input}


class Branches(L.Layer):
    """Counts its calls, and computes one thing or another by the count."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return tf.cond(
            self.calls.value > 1, lambda: tf.exp(0.1 * x) @ self.kernel, lambda: 2 * tf.tanh(x @ self.kernel)
        )


@pytest.mark.parametrize("calls", [0.0, 1.0])
def test_both_branches_of_a_conditional_and_their_gradients(calls):
    model = keras.Sequential([L.Input((8,)), L.Dense(8), Branches()])
    model.layers[1].calls.assign(calls)
    workload, values, got = step_of(model, (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD(0.1))
    want = RecipeReference(workload, "training", "float64").step(values).outputs
    assert float(got["branches.calls.next"]) == calls + 1
    assert all(largest_error(got[name], value) < 2e-6 for name, value in want.items())


class ByAutoGraph(tf.Module):
    """A conditional on a tensor, which AutoGraph makes one."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(normal(8, 3))

    @tf.function
    def __call__(self, x):
        if tf.reduce_sum(x) > 0:  # noqa: SIM108
            y = x * 2.0
        else:
            y = x * 3.0
        return tf.tanh(y @ self.w)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_function_of_the_users_whose_conditional_autograph_makes(sign):
    batch = (sign * np.abs(normal(4, 8)), normal(4, 3))
    workload, values, got = step_of(ByAutoGraph(), batch, MSE, keras.optimizers.SGD(0.1))
    want = RecipeReference(workload, "training", "float64").step(values).outputs
    assert all(largest_error(got[name], value) < 2e-6 for name, value in want.items())


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_masked_backward_recurrence_is_what_keras_makes_it(unrolled):
    x = L.Input((6,), dtype="int32")
    h = L.Embedding(20, 8, mask_zero=True)(x)
    options = {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True}  # as in Bidirectional
    h = L.LSTM(4, unroll=unrolled, **options)(h)
    model = keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(h)))
    words = np.array([[3, 5, 2, 0, 0, 0], [4, 1, 7, 8, 2, 0], [1, 2, 3, 4, 5, 6]], "int32")
    workload, values, got = step_of(model, (words, normal(3, 3)), MSE, keras.optimizers.SGD(0.1))
    want = RecipeReference(workload, "training", "float64").step(values).outputs
    assert all(largest_error(got[name], value) < 2e-6 for name, value in want.items())


def test_batch_normalisation_is_one_op_by_its_name():
    model = keras.Sequential([L.Input((8,)), L.Dense(6), L.BatchNormalization(), L.Dense(3)])
    workload = EXPORTER.workload(Recipe(model, (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD(0.1)))
    graph = EXPORTER.export(ExportRequest(workload, "training")).graph
    ops = {n.name.split("/")[2] for n in graph.node if n.name.startswith("forward/batch_normalization/")}
    assert ops == {"BatchNormTraining"}
    back = {n.name.split("/")[2] for n in graph.node if n.name.startswith("backward/batch_normalization/")}
    assert back <= {"BatchNormGrad", "Add"}  # a sum of gradients has no name of its own
    graph = EXPORTER.export(ExportRequest(workload, "inference")).graph
    assert {n.name.split("/")[2] for n in graph.node if "batch_normalization" in n.name} == {"BatchNorm"}
    assert {v.name for v in workload.buffers} == {
        "batch_normalization.moving_mean",
        "batch_normalization.moving_variance",
    }


def test_gradients_are_named_in_the_metadata():
    workload = EXPORTER.workload(Recipe(mlp(), (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD(0.1)))
    model = EXPORTER.export(ExportRequest(workload, "training"))
    gradients = GraphMetadata.read(model).gradients
    assert set(gradients) == {p.name for p in workload.parameters}
    assert set(gradients.values()) <= {name for node in model.graph.node for name in node.output}


# --- what is missing


class Odd(L.Layer):
    def call(self, x):
        return tf.math.bessel_i0(x) + tf.math.bessel_i0(2 * x)


def test_gaps_name_operation_layer_and_line_all_at_once():
    model = keras.Sequential([L.Input((8,)), L.Dense(8), Loop(), Odd(), L.Dense(3)])
    gaps = EXPORTER.gaps(Recipe(model, (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD(0.1)), "training")
    by_operation = {gap.operation: gap for gap in gaps if gap.phase == "forward"}
    assert {"BesselI0", "StatelessWhile"} <= set(by_operation)
    gap = by_operation["BesselI0"]
    assert (gap.layer, gap.count) == ("odd", 2)
    assert gap.source.endswith("return tf.math.bessel_i0(x) + tf.math.bessel_i0(2 * x)")
    assert "test_steps.py" in gap.source
    assert gap.lacks == "has no ONNX operator"
    assert by_operation["StatelessWhile"].rewrite
    assert EXPORTER.gaps(Recipe(mlp(), (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD()), "training") == ()


# --- the judge


def test_the_judge_takes_the_step_in_float64_and_updates_alike():
    workload, values, got = step_of(recurrent(), (normal(4, 6, 4), normal(4, 3)), MSE, keras.optimizers.Adam())
    double = RecipeReference(workload, "training", "float64")
    want = double.step(values)
    assert {a.dtype for a in want.gradients.values()} == {np.dtype("float64")}
    single = RecipeReference(workload, "training", "float32").step(values)
    for name, value in want.outputs.items():
        assert largest_error(got[name], value) < 2e-6
        assert largest_error(single.outputs[name], value) < 2e-6
    again = double.update(values, want.gradients)
    assert set(again) == {s.name for s in workload.interface("training").outputs} - {"loss"}
    assert all(largest_error(again[name], want.outputs[name]) < 1e-12 for name in again)
    wrong = {name: 1.0001 * gradient for name, gradient in want.gradients.items()}
    new = double.update(values, wrong)["dense.kernel.momentum.next"]
    assert largest_error(new, want.outputs["dense.kernel.momentum.next"]) > 5e-5


def test_a_fault_in_a_translation_shows(monkeypatch):
    from fathom_exporters.tensorflow.translate import convert

    tanh_grad = convert.HANDLERS["TanhGrad"]

    def faulty(e):
        e.inputs[1] = e.binary("Mul", e.inputs[1], e.number(1.001, e.inputs[1]))
        tanh_grad(e)

    monkeypatch.setitem(convert.HANDLERS, "TanhGrad", faulty)
    workload, values, got = step_of(mlp(), (normal(4, 8), normal(4, 3)), MSE, keras.optimizers.SGD(1.0))
    want = RecipeReference(workload, "training", "float64").step(values).outputs
    assert largest_error(got["dense.bias.next"], want["dense.bias.next"]) > 5e-4
    assert largest_error(got["dense_1.bias.next"], want["dense_1.bias.next"]) < 1e-6


# --- refusals


class Returns(keras.Model):
    def call(self, x):
        return x[:, :2]


class OwnStep(keras.Model):
    def call(self, x):
        return x

    def train_step(self, data):
        return {}


class Loop(L.Layer):
    def call(self, x):
        return tf.while_loop(lambda a: tf.reduce_sum(a) < 3.0, lambda a: (a * 2,), [tf.abs(x) + 0.1])[0]


class ByValue(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(normal(8, 3))

    def __call__(self, x):
        return x @ self.w if tf.reduce_sum(x) > 0 else -x @ self.w


def with_layer(layer):
    return keras.Sequential([L.Input((8,)), layer, L.Dense(3)])


@pytest.mark.parametrize(
    ("model", "loss", "optimizer", "message"),
    [
        (lambda: with_layer(Loop()), MSE, keras.optimizers.SGD, "a loop whose end depends on values; take a fixed"),
        (ByValue, MSE, keras.optimizers.SGD, r"cannot be traced \(.*test_steps.py:\d+\): .*; keep a tensor a tensor"),
        (lambda: with_layer(L.Dense(4, dtype="mixed_float16")), MSE, keras.optimizers.SGD, "computes in float16"),
        (mlp, None, keras.optimizers.SGD, "returns no loss"),
        (OwnStep, None, keras.optimizers.SGD, "train_step of its own"),
        (mlp, MSE, lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "its inner optimizer"),
        (mlp, MSE, lambda: "sgd", "no Keras 3 optimizer"),
        (lambda: object(), MSE, keras.optimizers.SGD, "no Keras 3 model"),
    ],
)
def test_what_cannot_be_a_step_is_refused_in_one_line(model, loss, optimizer, message):
    with pytest.raises((ExportError, UsageError), match=message) as refusal:
        EXPORTER.workload(Recipe(model(), (normal(4, 8), normal(4, 3)), loss, optimizer()))
    assert "\n" not in str(refusal.value)
    assert refusal.value.fix
