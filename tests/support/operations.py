"""One PyTorch operation at a time: recorded with its gradients, run in onnxruntime, judged by torch in float64."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, fx
from torch._subclasses.functional_tensor import dispatch_functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.check import infer
from fathom_exporters.lowering.finish import IR_VERSION, OPSET, passes
from fathom_exporters.torch.aten import canonical_op
from fathom_exporters.torch.decompositions import decomposition_table
from fathom_exporters.torch.recorded import Capture
from fathom_exporters.torch.recording.graph import drop_copies, own_outputs, promote_types
from fathom_exporters.torch.recording.record import plain_kernels
from fathom_exporters.torch.translate import translate, translated_operations

__all__ = ["Case", "compare", "compare_digits", "record", "tensors"]


@dataclass(frozen=True)
class Case:
    """A function of tensors and example arguments; floating-point ones are differentiated unless ``plain``."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Tensor, ...]
    plain: bool = False

    def __str__(self) -> str:
        return self.name


def _weighted(value: Tensor) -> Tensor:
    """A sum of unequal shares, so that no two elements have the same gradient."""
    return (value * torch.cos(torch.arange(value.numel(), dtype=value.dtype)).reshape(value.shape)).sum()


def _outputs_and_gradients(case: Case) -> Callable[..., tuple[Tensor, ...]]:
    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        inputs = [a.detach().requires_grad_() if a.dtype.is_floating_point and not case.plain else a for a in arguments]
        result = case.function(*inputs)
        outputs = list(result) if isinstance(result, tuple | list) else [result]
        wanted = [i for i in inputs if i.requires_grad]
        smooth = [o for o in outputs if o.dtype.is_floating_point and o.requires_grad]
        if wanted and smooth:
            total = functools.reduce(torch.add, [_weighted(o) for o in smooth])
            gradients = torch.autograd.grad(total, wanted, allow_unused=True)
            outputs += [g for g in gradients if g is not None]
        return tuple(o.detach().clone() for o in outputs)

    return run


def _constants_first(module: fx.GraphModule) -> list[Tensor]:
    """Constants of a recording become inputs after the others."""
    values = []
    last = [n for n in module.graph.nodes if n.op == "placeholder"][-1]
    for node in [n for n in module.graph.nodes if n.op == "get_attr"]:
        value = getattr(module, node.target)
        with module.graph.inserting_after(last):
            last = module.graph.placeholder(f"constant_{len(values)}")
        last.meta["val"] = node.meta.get("val", value)
        if not isinstance(last.meta["val"], Tensor):
            last.meta["val"] = value
        node.replace_all_uses_with(last)
        module.graph.erase_node(node)
        values.append(value)
    module.recompile()
    return values


def record(case: Case) -> tuple[fx.GraphModule, list[Tensor]]:
    """The recording of a case, and the constants that it has as further inputs."""
    function: Any = dispatch_functionalize(_outputs_and_gradients(case))
    table = decomposition_table(translated_operations())
    with plain_kernels():
        module = make_fx(function, decomposition_table=table, tracing_mode="fake", _allow_non_fake_inputs=True)(
            *case.arguments
        )
    drop_copies(module.graph)
    promote_types(module)
    constants = _constants_first(module)
    own_outputs(module.graph, 1000)
    module.recompile()
    return module, constants


def _exported(case: Case) -> tuple[Any, list[Tensor]]:
    module, constants = record(case)
    arguments = [*case.arguments, *constants]
    names = tuple(node.name for node in module.graph.nodes if node.op == "placeholder")
    output = next(node for node in module.graph.nodes if node.op == "output")
    tags = {
        node.name: Tag("forward", "case", canonical_op(node), node.name)
        for node in module.graph.nodes
        if node.op == "call_function"
    }
    model = translate(Capture(module, names, tuple(f"out_{i}" for i in range(len(output.args[0]))), tags))
    for step in passes("simulators")[:-1]:
        step(model)
    model.metadata_props.clear()
    model.ir_version = IR_VERSION
    model.opset_imports.clear()
    model.opset_imports[""] = OPSET
    return infer(ir.to_proto(model)), arguments


def _run(case: Case) -> list[np.ndarray]:
    proto, arguments = _exported(case)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {i.name: a.detach().numpy() for i, a in zip(proto.graph.input, arguments, strict=True)}
    return list(session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()}))


def compare(case: Case, limit: float = 2e-5) -> None:
    """Every output and gradient of the exported case is PyTorch's in float64, of PyTorch's own shape and type."""
    wide = [a.double() if a.dtype == torch.float32 else a for a in case.arguments]
    want = _outputs_and_gradients(case)(*wide)
    narrow = _outputs_and_gradients(case)(*case.arguments)
    got = _run(case)
    assert len(got) == len(want)
    for index, (actual, expected, own) in enumerate(zip(got, want, narrow, strict=True)):
        truth = expected.numpy(force=True)
        assert actual.shape == truth.shape, f"output {index}: shape {actual.shape}, not {truth.shape}"
        assert actual.dtype == own.numpy(force=True).dtype, (
            f"output {index}: {actual.dtype}, not {own.numpy(force=True).dtype}"
        )
        finite = truth[np.isfinite(truth)] if truth.dtype.kind == "f" else np.zeros(0)
        scale = max(1e-3, float(np.abs(finite).max())) if finite.size else 1.0
        np.testing.assert_allclose(
            actual.astype(truth.dtype), truth, rtol=limit, atol=limit * scale, err_msg=f"output {index}"
        )


def compare_digits(case: Case, limit: float = 16, truth: Case | None = None) -> None:
    """Each element of every output and gradient is PyTorch's in float64, up to ``limit`` units of its last place.

    Args:
        case: The case.
        limit: How many units; where PyTorch's own float32 is further off, so may the exported case be, fourfold.
        truth: The case that is right, if not this one.
    """
    truth = truth or case
    wide = [a.double() if a.dtype == torch.float32 else a for a in case.arguments]
    want = [w.numpy() for w in _outputs_and_gradients(truth)(*wide)]
    narrow = [n.numpy() for n in _outputs_and_gradients(truth)(*case.arguments)]
    unit, smallest = 2.0**-23, 2.0**-126
    for index, (actual, expected, own) in enumerate(zip(_run(case), want, narrow, strict=True)):
        edge = ~np.isfinite(own)  # beyond float32, infinite or no number
        np.testing.assert_array_equal(actual[edge], own[edge], err_msg=f"output {index}")
        size = np.maximum(np.abs(expected[~edge]), smallest) * unit
        units = np.abs(actual[~edge].astype(float) - expected[~edge]) / size
        units_of_torch = np.abs(own[~edge].astype(float) - expected[~edge]) / size
        worst = np.flatnonzero(~(units <= np.maximum(limit, 4 * units_of_torch)))
        assert not worst.size, f"output {index}: {units[worst].max():.0f} units of its last place off at {worst[:5]}"


def tensors(*shapes: Sequence[int], seed: int = 0, low: float = -2.0, high: float = 2.0) -> tuple[Tensor, ...]:
    """Tensors of float32 in ``[low, high)``, no two elements alike."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for shape in shapes:
        count = math.prod(shape)
        place = (torch.randperm(count, generator=generator) + 0.37) / max(count, 1)
        parts.append((low + (high - low) * place).reshape(tuple(shape)).float())
    return tuple(parts)
