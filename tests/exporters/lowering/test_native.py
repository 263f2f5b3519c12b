"""Opset 23: patterns become native ops that compute the same, what is like one stays, and steps are as before."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from click.testing import CliRunner

from fathom_exporters.lowering.native import WriteNativeOps
from fathom_exporters.lowering.tags import Tag
from fathom_onnx.analysis.cost import layer_costs
from fathom_onnx.cli import main
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import Address, Graph, from_model, load
from fathom_onnx.verification import verify
from fathom_onnx.workloads import workload


def model_of(signature: str, body: str, backward: int = 0) -> ir.Model:
    """A model of opset 18 whose nodes are tagged; the last ones as of the backward pass."""
    text = f'<ir_version: 10, opset_import: ["": 18]> g {signature} {{ {body} }}'
    made = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), data_prop=True)
    model = ir.from_proto(made)
    nodes = list(model.graph)
    for number, node in enumerate(nodes):
        phase = "backward" if number >= len(nodes) - backward else "forward"
        Tag(phase, "layer", "Mul", str(number)).put(node)
    ir.passes.common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return model


def written(signature: str, body: str, backward: int = 0) -> tuple[Counter[str], list[float], ir.Model]:
    """Ops after the pass, the differences of the outputs from those before in onnxruntime, and the graph."""
    before = ir.to_proto(model_of(signature, body, backward))
    model = model_of(signature, body, backward)
    WriteNativeOps(23)(model)
    model.ir_version = 11
    after = ir.to_proto(model)
    rng = np.random.default_rng(0)
    feeds = {}
    for value in before.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        is_mask = value.type.tensor_type.elem_type == onnx.TensorProto.BOOL
        feeds[value.name] = np.tril(np.ones(shape, bool)) if is_mask else rng.normal(size=shape).astype(np.float32)
    first, second = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
        for m in (before, after)
    )
    off = [float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True)]
    return Counter(node.op_type for node in model.graph), off, model


NEGATIVE = "inf = Constant<value_float = -inf>()"
ATTENTION = """
    t = Transpose<perm = [0, 1, 3, 2]>(k)
    p = MatMul(q, t)
    c = Constant<value_float = 0.25>()
    s = Mul(p, c)
    w = Softmax<axis = -1>(s)
    y = MatMul(w, v)
"""
HEADS = "(float[2,3,4,8] q, float[2,3,5,8] k, float[2,3,5,6] v)"


def test_attention_of_heads() -> None:
    ops, off, model = written(f"{HEADS} => (float[2,3,4,6] y)", ATTENTION)
    assert ops["Attention"] == 1
    assert not ops.keys() & {"Softmax", "MatMul"}
    assert max(off) < 1e-6
    (node,) = (node for node in model.graph if node.op_type == "Attention")
    assert Tag.of(node) == Tag("forward", "layer", "Attention", "4")


def test_what_the_backward_pass_reads_of_the_softmax_is_an_output() -> None:
    body = ATTENTION + "z = Mul(w, w)"
    ops, off, _ = written(f"{HEADS} => (float[2,3,4,6] y, float[2,3,4,5] z)", body, backward=1)
    assert (ops["Attention"], ops["Softmax"]) == (1, 0)
    assert max(off) < 1e-6


def test_grouped_queries_with_a_mask() -> None:
    """Six query heads share two heads of keys and values, three each; the mask is causal."""
    body = f"""
        t = Transpose<perm = [0, 1, 3, 2]>(k)
        p = MatMul(q, t)
        a = Constant<value_ints = [2, 2, 3, 4, 4]>()
        r = Reshape(p, a)
        {NEGATIVE}
        m = Where(mask, r, inf)
        w = Softmax<axis = -1>(m)
        b = Constant<value_ints = [2, 2, 12, 4]>()
        u = Reshape(w, b)
        y = MatMul(u, v)
    """
    signature = "(float[2,2,12,8] q, float[2,2,4,8] k, float[2,2,4,8] v, bool[4,4] mask) => (float[2,2,12,8] y)"
    ops, off, _ = written(signature, body)
    assert (ops["Attention"], ops["Softmax"], ops["Where"]) == (1, 0, 0)
    assert max(off) < 1e-6


@pytest.mark.parametrize("turned", [False, True])
def test_channels_before_pixels(turned: bool) -> None:
    """Values [N, channels, places] times the weights transposed, or a softmax over the axis before the last."""
    tail = (
        "u = Transpose<perm = [0, 2, 1]>(p) w = Softmax<axis = 1>(u) y = MatMul(v, w)"
        if turned
        else "w = Softmax<axis = 2>(p) u = Transpose<perm = [0, 2, 1]>(w) y = MatMul(v, u)"
    )
    body = f"t = Transpose<perm = [0, 2, 1]>(q) p = MatMul(t, k) {tail}"
    ops, off, _ = written("(float[2,8,4] q, float[2,8,5] k, float[2,6,5] v) => (float[2,6,4] y)", body)
    assert (ops["Attention"], ops["Softmax"]) == (1, 0)
    assert max(off) < 1e-6


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        (f"{HEADS} => (float[2,3,4,6] y)", ATTENTION.replace("axis = -1", "axis = 2")),
        (
            "(float[2,1,4,8] q, float[2,1,4,8] k, float[2,1,4,6] v, bool[2,1,4,4] m) => (float[2,1,4,6] y)",
            ATTENTION.replace("w = Softmax<axis = -1>(s)", f"{NEGATIVE} x = Where(m, s, inf) w = Softmax<axis=-1>(x)"),
        ),
        (f"{HEADS} => (float[2,3,4,6] y)", ATTENTION.replace("s = Mul(p, c)", "s = Exp(p)")),
        ("(float[4,8] q, float[5,8] t, float[8,5] k, float[5,6] v) => (float[4,6] y)",
         "p = MatMul(q, k) w = Softmax(p) y = MatMul(w, v)"),
    ],
    ids=["another axis", "a mask for each sample", "another function", "no heads"],
)  # fmt: skip
def test_what_is_like_attention_stays(signature: str, body: str) -> None:
    ops, off, _ = written(signature, body)
    assert (ops["Attention"], ops["Softmax"]) == (0, 1)
    assert max(off) == 0


RMS = """
    s = Mul(x, x)
    a = Constant<value_ints = [1]>()
    m = ReduceMean<keepdims = 1>(s, a)
    e = Constant<value_float = 0.5>()
    h = Add(m, e)
    r = Sqrt(h)
    i = Reciprocal(r)
    n = Mul(x, i)
    y = Mul(n, g)
"""


def test_rms_norm_and_what_the_backward_pass_reads_of_it() -> None:
    ops, off, _ = written("(float[3,5] x, float[5] g) => (float[3,5] y)", RMS)
    assert ops["RMSNormalization"] == 1
    assert not ops["ReduceMean"]
    assert max(off) < 1e-6
    ops, off, model = written("(float[3,5] x, float[5] g) => (float[3,5] y, float[3,5] z)", RMS + "z = Mul(n, n)", 1)
    assert (ops["RMSNormalization"], ops["ReduceMean"]) == (1, 1)
    assert max(off) < 1e-6
    phases = {node.op_type: tag.phase for node in model.graph if (tag := Tag.of(node)) is not None}
    assert phases["RMSNormalization"] == "forward"
    assert {phases[op] for op in ("ReduceMean", "Sqrt", "Reciprocal")} == {"backward"}


@pytest.mark.parametrize("change", [("[1]", "[0]"), ("Mul(x, x)", "Mul(x, g)"), ("Mul(x, i)", "Mul(s, i)")])
def test_what_is_like_rms_norm_stays(change: tuple[str, str]) -> None:
    ops, off, _ = written("(float[5,5] x, float[5] g) => (float[5,5] y)", RMS.replace(*change))
    assert not ops["RMSNormalization"]
    assert max(off) == 0


ROTARY = """
    p, q = Split<axis = 3, num_outputs = 2>(x)
    a = Mul(p, c) b = Mul(q, s) d = Sub(a, b)
    e = Mul(q, c) f = Mul(p, s) h = Add(e, f)
    y = Concat<axis = -1>(d, h)
"""
TURNED = "(float[2,3,4,8] x, float[3,1,4] c, float[3,1,4] s) => (float[2,3,4,8] y)"


def test_rotary_embedding() -> None:
    ops, off, _ = written(TURNED, ROTARY)
    assert (ops["RotaryEmbedding"], ops["Split"]) == (1, 0)
    assert max(off) < 1e-6


@pytest.mark.parametrize("change", [("Sub(a, b)", "Add(a, b)"), ("Mul(p, s)", "Mul(p, c)"), ("(d, h)", "(h, d)")])
def test_what_is_like_a_rotation_stays(change: tuple[str, str]) -> None:
    ops, off, _ = written(TURNED, ROTARY.replace(*change))
    assert not ops["RotaryEmbedding"]
    assert max(off) == 0


GELUS = (
    "c = Constant<value_float = 1.4142135>() d = Div(x, c) e = Erf(d) o = Constant<value_float = 1.0>() "
    "a = Add(e, o) h = Constant<value_float = 0.5>() b = Mul(h, a) y = Mul(x, b)",
    "h = Constant<value_float = 0.5>() a = Mul(h, x) n = Neg(x) c = Constant<value_float = 0.70710677>() "
    "d = Mul(n, c) e = Erf(d) o = Constant<value_float = 1.0>() f = Sub(o, e) y = Mul(a, f)",
)


@pytest.mark.parametrize("body", GELUS, ids=["erf", "erfc"])
def test_gelu(body: str) -> None:
    ops, off, _ = written("(float[3,5] x) => (float[3,5] y)", body)
    assert ops == {"Gelu": 1}
    assert max(off) < 1e-6
    for change in (("0.5", "0.4"), ("float = 1.0", "float = 1.1"), ("float = 1.4142135", "float = 1.5")):
        if change[0] in body:
            ops, off, _ = written("(float[3,5] x) => (float[3,5] y)", body.replace(*change))
            assert (ops["Gelu"], ops["Erf"], max(off)) == (0, 1, 0)


MOMENTS = """
    a = Constant<value_ints = {axes}>()
    m = ReduceMean<keepdims = 1>(x, a)
    c = Sub(x, m)
    s = Mul(c, c)
    v = ReduceMean<keepdims = 1>(s, a)
    e = Constant<value_float = 0.5>()
    h = Add(v, e)
    r = Sqrt(h)
    i = Reciprocal(r)
"""
STEPS = "n = Mul(c, i) k = Mul(n, g) y = Add(k, b)"
FOLDED = "f = Mul(i, g) k = Mul(x, f) l = Mul(m, f) o = Sub(b, l) y = Add(k, o)"


@pytest.mark.parametrize("tail", [STEPS, FOLDED], ids=["steps", "folded"])
def test_layer_norm(tail: str) -> None:
    signature = "(float[2,3,5] x, float[5] g, float[5] b) => (float[2,3,5] y)"
    ops, off, _ = written(signature, MOMENTS.format(axes=[2]) + tail)
    assert ops == {"LayerNormalization": 1, "Reshape": 2}
    assert max(off) < 2e-6
    ops, _, _ = written("(float[5,3,5] x, float[5] g, float[5] b) => (float[5,3,5] y)", MOMENTS.format(axes=[0]) + tail)
    assert not ops["LayerNormalization"]


def test_group_norm() -> None:
    """Six channels in two groups: with channels apart from each other, and with the groups on an axis of their own."""
    image = "(float[2,6,4,4] z, float[6] scale, float[6] shift) => (float[2,6,4,4] out)"
    steps = """
        t = Constant<value_ints = [2, 2, 48]>() x = Reshape(z, t)
        u = Constant<value_ints = [6, 1]>() g = Reshape(scale, u) b = Reshape(shift, u)
        {moments}
        n = Mul(c, i) w = Constant<value_ints = [2, 6, 16]>() j = Reshape(n, w) k = Mul(j, g) y = Add(k, b)
        q = Constant<value_ints = [2, 6, 4, 4]>() out = Reshape(y, q)
    """
    folded = """
        t = Constant<value_ints = [2, 2, 3, 4, 4]>() x = Reshape(z, t)
        u = Constant<value_ints = [1, 2, 3, 1, 1]>() g = Reshape(scale, u) b = Reshape(shift, u)
        {moments}
        {tail}
        q = Constant<value_ints = [2, 6, 4, 4]>() out = Reshape(y, q)
    """
    for body in (
        steps.format(moments=MOMENTS.format(axes=[2])),
        folded.format(moments=MOMENTS.format(axes=[2, 3, 4]), tail=FOLDED),
        folded.format(moments=MOMENTS.format(axes=[2, 3, 4]), tail=STEPS),
    ):
        ops, off, model = written(image, body)
        assert (ops["GroupNormalization"], ops["ReduceMean"]) == (1, 0)
        assert max(off) < 2e-6
        (node,) = (node for node in model.graph if node.op_type == "GroupNormalization")
        assert node.attributes["num_groups"].as_int() == 2
    of_channels = folded.format(moments=MOMENTS.format(axes=[3, 4]), tail=STEPS)
    assert not written(image, of_channels)[0]["GroupNormalization"]


# whole steps


@pytest.fixture(scope="module")
def step() -> dict[int, Graph]:
    """llama's training step from PyTorch in both opsets."""
    request = {opset: ExportRequest(workload("llama", "tiny"), "training", "input", opset=opset) for opset in (18, 23)}
    return {opset: from_model(find_exporter("torch").export(asked), "llama") for opset, asked in request.items()}


def test_a_step_in_native_ops_is_judged_like_any_other(step: dict[int, Graph]) -> None:
    ops = Counter(node.op_type for node in step[23].model.graph.node)
    assert (ops["Attention"], ops["RMSNormalization"], ops["RotaryEmbedding"], ops["Softmax"]) == (2, 5, 4, 0)
    assert [(o.domain, o.version) for o in step[23].model.opset_import] == [("", 23)]
    assert verify(workload("llama", "tiny"), "torch", "training", steps=1, graph=step[23]).passed
    wrong = onnx.ModelProto()
    wrong.CopyFrom(step[23].model)
    attention = next(node for node in wrong.graph.node if node.op_type == "Attention")
    next(a for a in attention.attribute if a.name == "scale").f *= 1.001
    graph = from_model(wrong, "llama")
    assert not verify(workload("llama", "tiny"), "torch", "training", steps=1, graph=graph).passed


def test_layers_cost_what_they_did(step: dict[int, Graph]) -> None:
    macs = [{name: layer.macs for name, layer in layer_costs(step[opset]).items() if layer.macs} for opset in (18, 23)]
    assert macs[0] == macs[1]
    assert macs[0]["block1.attention"] == 2 * 2 * 4 * 8 * 8 * 4  # two products of 2 samples, 4 heads, 8 x 8 x 4
    addresses = [Address.parse(node.name) for node in step[23].model.graph.node]
    assert {a.op for a in addresses if a and a.scope == "block1.attention" and a.phase == "forward"} >= {"Attention"}


def test_the_opset_is_chosen_on_the_command_line_and_in_python(tmp_path) -> None:
    path = tmp_path / "vit.onnx"
    call = ["export", "vit", "--preset", "tiny", "--mode", "inference", "-o", str(path), "--opset"]
    assert CliRunner().invoke(main, [*call, "23"]).exit_code == 0
    graph = load(path)
    assert graph.model.ir_version == 11
    assert Counter(node.op_type for node in graph.model.graph.node)["Gelu"] == 2
    assert CliRunner().invoke(main, [*call, "19"]).exit_code == 2
    import fathom_onnx

    with pytest.raises(UnknownNameError, match="unknown opset '19'"):
        fathom_onnx.export(workload("vit", "tiny"), opset=19)
