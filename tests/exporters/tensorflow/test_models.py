"""The TensorFlow models and their reference step, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from fathom_exporters.tensorflow import TensorFlowExporter, optimizers  # noqa: E402
from fathom_exporters.tensorflow.layers import batch_norm, conv2d, dropout, flatten, local_response_norm, max_pool  # noqa: E402
from fathom_exporters.tensorflow.net import Net  # noqa: E402
from fathom_onnx.errors import UnknownNameError  # noqa: E402
from fathom_onnx.workloads.contract import Adam, Initialiser, Variable  # noqa: E402
from support.graphs.tensorflow_values import values_of  # noqa: E402

EXPORTER = TensorFlowExporter()


def autoenc_in_numpy(v):
    v = {key: np.asarray(value, "float64") for key, value in v.items()}

    def linear(name, x):
        return x @ v[f"{name}.weight"].T + v[f"{name}.bias"]

    h = np.logaddexp(0, linear("encoder.hidden", v["images"]))
    mean, log_variance = linear("encoder.mean", h), linear("encoder.log_variance", h)
    z = mean + np.exp(log_variance / 2) * v["noise"]
    p = 1 / (1 + np.exp(-linear("decoder.output", np.logaddexp(0, linear("decoder.hidden", z)))))
    x = v["images"]
    reconstruction = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1)
    divergence = -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(1)
    return p, (reconstruction + divergence).mean()


def test_autoenc_gives_the_reconstruction_and_loss_of_the_paper():
    w, values = values_of("autoenc", "training")
    p, loss = autoenc_in_numpy(values)
    got = EXPORTER.reference(w, "training", "float64").step(values)
    np.testing.assert_allclose(got.outputs["loss"], loss, rtol=1e-12)
    got = EXPORTER.reference(w, "inference", "float64").step(values)
    np.testing.assert_allclose(got.outputs["reconstruction"], p, rtol=1e-10)


def test_autoenc_gradient_is_the_slope_of_the_loss():
    w, values = values_of("autoenc", "training")
    got = EXPORTER.reference(w, "training", "float64").step(values)
    name = "encoder.log_variance.weight"
    m = np.asarray(values[f"{name}.adam_m"], "float64")
    gradient = (got.outputs[f"{name}.adam_m.next"] - 0.9 * m) / (1 - 0.9)
    for index in [(0, 0), (3, 7), (5, 31)]:
        step = np.zeros(gradient.shape)
        step[index] = 1e-6
        ends = [autoenc_in_numpy({**values, name: values[name] + sign * step})[1] for sign in (1, -1)]
        np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_single_precision_agrees_with_double(mode):
    w, values = values_of("autoenc", mode)  # smooth everywhere
    single = EXPORTER.reference(w, mode, "float32").step(values)
    double = EXPORTER.reference(w, mode, "float64").step(values)
    assert set(single.outputs) == {spec.name for spec in w.interface(mode, "input").outputs}
    for key, value in double.outputs.items():
        assert single.outputs[key].dtype == np.float32
        assert value.dtype == np.float64
        scale = np.abs(value).max() + 1e-12
        np.testing.assert_allclose(single.outputs[key] / scale, value / scale, atol=2e-5, err_msg=key)


def test_reference_names_what_is_missing():
    w, values = values_of("autoenc", "inference")
    reference = EXPORTER.reference(w, "inference", "float32")
    with pytest.raises(UnknownNameError, match="noise"):
        reference.step({key: value for key, value in values.items() if key != "noise"})


def net(variables=None, data_format="NHWC", mode="training", dtype="float64", **more):
    stored = {name: tf.constant(value, dtype) for name, value in (variables or {}).items()}
    return Net(stored, mode, data_format, **more)


def test_padding_of_a_pool_is_never_the_largest():
    x = tf.constant(-1 - np.arange(16.0).reshape(1, 1, 4, 4))
    n = net(data_format="NHWC")
    pooled = n.nchw(max_pool(n, "pool", n.image(x), 3, 2, padding=1))
    np.testing.assert_array_equal(pooled, np.array([[-1.0, -2], [-5, -6]]).reshape(1, 1, 2, 2))


def test_conv2d_is_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 10, 8)), rng.normal(size=(5, 3, 3, 3))
    for stride, padding in [(1, 1), (2, 1), (2, 0)]:
        n = net({"c.weight": w})
        got = n.nchw(conv2d(n, "c", n.image(tf.constant(x)), stride, padding))
        want = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(w), stride=stride, padding=padding)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_batch_norm_and_its_running_statistics(mode, dtype):
    rng = np.random.default_rng(1)
    x = rng.normal(2, 3, (2, 3, 4, 5))
    v = {
        "n.weight": rng.uniform(0.5, 2, 3),
        "n.bias": rng.normal(size=3),
        "n.running_mean": rng.normal(size=3),
        "n.running_var": rng.uniform(0.5, 2, 3),
    }
    n = net(v, mode=mode, dtype=dtype)
    y = n.nchw(batch_norm(n, "n", n.image(tf.constant(x, dtype)), momentum=0.9, epsilon=1e-5))
    training = mode == "training"
    mean = x.mean((0, 2, 3)) if training else v["n.running_mean"]
    variance = x.var((0, 2, 3)) if training else v["n.running_var"]
    column = (slice(None), None, None)
    want = (x - mean[column]) / np.sqrt(variance[column] + 1e-5) * v["n.weight"][column] + v["n.bias"][column]
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y, want, rtol=tolerance, atol=tolerance)
    if not training:
        assert n.new_buffers == {}
        return
    unbiased = x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(
        n.new_buffers["n.running_mean"], 0.9 * v["n.running_mean"] + 0.1 * mean, rtol=tolerance, atol=tolerance
    )
    np.testing.assert_allclose(
        n.new_buffers["n.running_var"], 0.9 * v["n.running_var"] + 0.1 * unbiased, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_statistics_without_a_momentum_are_the_average_over_all_batches(dtype):
    rng = np.random.default_rng(2)
    batches = [rng.normal(size=(2, 3, 4, 5)) for _ in range(3)]
    v = {"n.weight": np.ones(3), "n.bias": np.zeros(3), "n.running_mean": np.zeros(3), "n.running_var": np.ones(3)}
    count = tf.constant(0, "int64")
    for number, x in enumerate(batches, 1):
        n = net(v, dtype=dtype)
        n.variables["n.num_batches_tracked"] = count
        batch_norm(n, "n", n.image(tf.constant(x, dtype)), momentum=None, epsilon=1e-5)
        count = n.new_buffers["n.num_batches_tracked"]
        assert int(count) == number
        v |= {name: n.new_buffers[name].numpy() for name in ("n.running_mean", "n.running_var")}
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        seen = batches[:number]
        mean, variance = (
            np.mean([f(b) for b in seen], 0) for f in (lambda b: b.mean((0, 2, 3)), lambda b: b.var((0, 2, 3), ddof=1))
        )
        np.testing.assert_allclose(v["n.running_mean"], mean, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(v["n.running_var"], variance, rtol=tolerance)


def test_conv2d_adds_its_bias_to_every_channel():
    b = np.array([3.0, -4.0])
    n = net({"c.weight": np.zeros((2, 1, 1, 1)), "c.bias": b})
    y = n.nchw(conv2d(n, "c", n.image(tf.zeros((1, 1, 2, 2), tf.float64))))
    np.testing.assert_array_equal(y, np.broadcast_to(b[None, :, None, None], (1, 2, 2, 2)))


def lrn_by_hand(x, size, k, alpha, beta):
    y = np.empty_like(x)
    for i in range(x.shape[1]):
        window = x[:, max(i - size // 2, 0) : i + size // 2 + 1]
        y[:, i] = x[:, i] / (k + alpha * (window**2).sum(1)) ** beta
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_local_response_norm_takes_alpha_for_the_sum(dtype):
    x = np.random.default_rng(3).normal(size=(2, 7, 3, 4))
    n = net(dtype=dtype)
    y = n.nchw(local_response_norm(n, "n", n.image(tf.constant(x, dtype)), 5, 2.0, 0.3, 0.75))
    np.testing.assert_allclose(y, lrn_by_hand(x, 5, 2.0, 0.3, 0.75), rtol=1e-5 if dtype == "float32" else 1e-12)


def test_flatten_puts_channels_first_in_both_layouts():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    for data_format in ("NHWC", "NCHW"):
        n = net(data_format=data_format)
        np.testing.assert_array_equal(flatten(n, "f", n.image(tf.constant(x))), np.arange(24.0)[None])


def test_dropout_keeps_what_is_drawn_at_the_rate_or_above():
    draws = tf.constant([[0.0, 0.24, 0.25, 0.99]], tf.float64)
    x = tf.constant([[1.0, 2.0, 3.0, 4.0]], tf.float64)
    y = dropout(net(given_noise={"d.noise": draws}), "d", x, 0.25)
    np.testing.assert_allclose(y, [[0, 0, 4, 16 / 3]], rtol=1e-12)
    assert dropout(net(mode="inference"), "d", x, 0.25) is x


def test_adam_is_the_contracts():
    rule = Adam(1e-2)
    parameter = Variable("fc.weight", (2, 3), Initialiser.constant(0.0))
    rng = np.random.default_rng(2)
    values = {v.name: rng.uniform(0.1, 1, v.shape) for v in (parameter, *rule.variables((parameter,)))}
    values[rule.STEP] = np.array(4.0)
    gradient = rng.normal(size=(2, 3))
    tensors = {name: tf.constant(value) for name, value in values.items()}
    new = optimizers._adam(net(), rule, tensors, {"fc.weight": tf.constant(gradient)})
    m_name, v_name = rule.slots("fc.weight")
    assert set(new) == set(values)
    assert float(new[rule.STEP]) == 5.0
    np.testing.assert_allclose(new[m_name], 0.9 * values[m_name] + 0.1 * gradient, rtol=1e-12)
    np.testing.assert_allclose(new[v_name], 0.999 * values[v_name] + 0.001 * gradient**2, rtol=1e-12)
    stepped = {f"{name}.next": np.asarray(value) for name, value in new.items()}
    np.testing.assert_allclose(new["fc.weight"], rule.update("fc.weight", values, stepped), rtol=1e-9)
