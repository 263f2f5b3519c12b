"""Single operations and their gradients, recorded, translated, lowered and run, against PyTorch in float64.

:func:`check` is the one entry point. What it records is ``function(*tensors)`` and the gradients of ``sum(y * dy)`` for
all tensors of floating point, as the training step of a model is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from onnx_ir.passes.common import ShapeInferencePass
from torch import Tensor, nn
from torch._subclasses.functional_tensor import dispatch_functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.check import infer
from fathom_exporters.lowering.cleanup import CLEANUP
from fathom_exporters.lowering.lower import LowerGradients
from fathom_exporters.torch.aten import canonical_op
from fathom_exporters.torch.decompositions import decomposition_table
from fathom_exporters.torch.recorded import Capture
from fathom_exporters.torch.recording.graph import drop_copies, promote_types
from fathom_exporters.torch.recording.record import plain_kernels
from fathom_exporters.torch.translate import translate, translated_operations
from fathom_onnx.verification.double import DoubleGraph

__all__ = ["PURPOSES", "Recorded", "check", "drawn", "record"]

PURPOSES = ("simulators", "onnxruntime", "cuda")


@dataclass
class Recorded:
    """A recorded step of one function.

    Attributes:
        function: From all tensors to outputs and gradients.
        inputs: The tensors, float32, those of ``dy`` last.
        capture: The recording.
    """

    function: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[Tensor, ...]
    capture: Capture
    _translated: onnx.ModelProto | None = None

    def targets(self) -> list[str]:
        """The aten operations of the recording."""
        return [str(n.target) for n in self.capture.module.graph.nodes if n.op == "call_function"]

    def model(self, purpose: str) -> onnx.ModelProto:
        """The finished model for a purpose, without addresses."""
        if self._translated is None:
            self._translated = ir.to_proto(translate(self.capture))
        model = ir.from_proto(self._translated)
        for step in (LowerGradients(purpose), ShapeInferencePass(data_prop=True), *CLEANUP):
            step(model)
        model.opset_imports.clear()
        model.opset_imports[""] = 18
        model.ir_version = 10
        return infer(ir.to_proto(model))


def drawn(*shape: int, seed: int = 0, low: float | None = None) -> Tensor:
    """Float32 numbers: normal or, with ``low``, uniform from there to 1."""
    rng = np.random.default_rng([seed, *shape])
    array = rng.normal(size=shape) if low is None else rng.uniform(low, 1, shape)
    return torch.tensor(array, dtype=torch.float32)


def _with_gradients(function: Callable[..., Any], count: int) -> Callable[..., tuple[Tensor, ...]]:
    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = [t.detach().requires_grad_(t.is_floating_point()) for t in tensors[:count]]
        result = function(*given)
        outputs = [result] if isinstance(result, Tensor) else list(result)
        trained = [y for y in outputs if y.requires_grad]
        total = sum((y * dy).sum() for y, dy in zip(trained, tensors[count:], strict=True))
        wanted = [t for t in given if t.requires_grad]
        gradients = torch.autograd.grad(total, wanted, allow_unused=True) if trained else ()
        return (*(y.detach() for y in outputs), *(g for g in gradients if g is not None))

    return step


def of_module(module: nn.Module) -> tuple[Callable[..., Any], list[Tensor]]:
    """A module as a function of its input, its parameters and its buffers, and these tensors.

    The function's outputs are the module's and, in training, its buffers of floating point. No gradient of a buffer is
    asked for.
    """
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    names = [*parameters, *buffers]

    def function(x: Tensor, *values: Tensor) -> Any:
        state = {n: v if n in parameters else v.detach().clone() for n, v in zip(names, values, strict=True)}
        y = torch.func.functional_call(module, state, (x,))
        kept = [state[name] for name, b in buffers.items() if module.training and b.is_floating_point()]
        return (*((y,) if isinstance(y, Tensor) else y), *kept)

    return function, [t.detach().clone() for t in (*parameters.values(), *buffers.values())]


def record(function: Callable[..., Any] | nn.Module, *tensors: Tensor) -> Recorded:
    """Record a function of tensors, or a module's of its first argument."""
    if isinstance(function, nn.Module):
        function, state = of_module(function)
        tensors = (*tensors, *state)
    with torch.no_grad():
        pass
    result = function(*(t.detach().requires_grad_(t.is_floating_point()) for t in tensors))
    outputs = [result] if isinstance(result, Tensor) else list(result)
    given = [drawn(*y.shape, seed=7) for y in outputs if y.requires_grad]
    inputs = (*tensors, *given)
    step = _with_gradients(function, len(tensors))
    functional: Any = dispatch_functionalize(step)
    table = decomposition_table(translated_operations())
    with plain_kernels():
        module = make_fx(functional, decomposition_table=table, tracing_mode="fake")(*inputs)
    drop_copies(module.graph)
    promote_types(module)
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    for index, node in enumerate(placeholders):
        node.name = node.target = f"in_{index}"
    module.recompile()
    tags = {
        node.name: Tag("backward", "layer", canonical_op(node), node.name)
        for node in module.graph.nodes
        if node.op == "call_function"
    }
    output = next(node for node in module.graph.nodes if node.op == "output")
    names = tuple(f"input_{i}" for i in range(len(inputs)))
    results = tuple(f"output_{i}" for i in range(len(output.args[0])))
    return Recorded(step, inputs, Capture(module, names, results, tags))


def _doubled(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.double() if t.is_floating_point() else t for t in tensors]


def _error(got: np.ndarray, truth: np.ndarray) -> float:
    """The largest difference as a part of the largest true value."""
    if not truth.size:
        return 0.0
    return float(np.abs(got.astype(np.float64) - truth).max() / max(np.abs(truth).max(), 1e-30))


def check(
    function: Callable[..., Any] | nn.Module,
    *tensors: Tensor,
    purposes: Sequence[str] = PURPOSES,
    limit: float = 2e-6,
    exact: float = 1e-6,
) -> list[onnx.ModelProto]:
    """Compare outputs and gradients in onnxruntime with PyTorch's in float64, for each purpose.

    A tensor may differ by four times PyTorch's own float32 error, or by ``limit`` of its largest value. The first
    purpose's graph is also read in float64, where it may differ by ``exact`` of the largest value.

    Returns:
        The finished models.
    """
    recorded = record(function, *tensors)
    if isinstance(function, nn.Module):
        function.double()
        truth = recorded.function(*_doubled(recorded.inputs))
        function.float()
    else:
        truth = recorded.function(*_doubled(recorded.inputs))
    usual = recorded.function(*recorded.inputs)
    models = []
    for purpose in purposes:
        model = recorded.model(purpose)
        if purpose == "simulators" and not _has_transposed_forward(recorded):
            assert "ConvTranspose" not in {node.op_type for node in model.graph.node}
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = dict(zip(recorded.capture.input_names, (t.numpy() for t in recorded.inputs), strict=True))
        wanted = {i.name for i in session.get_inputs()}
        results = session.run(None, {name: value for name, value in feeds.items() if name in wanted})
        for index, (got, true, plain) in enumerate(zip(results, truth, usual, strict=True)):
            true_array = true.numpy().astype(np.float64)
            assert got.shape == true_array.shape, (purpose, index, got.shape, true_array.shape)
            error, own = _error(got, true_array), _error(plain.numpy(), true_array)
            assert error <= max(4 * own, limit), f"{purpose}, output {index}: {error:.1e}, PyTorch's own {own:.1e}"
        models.append(model)
    wide = dict(zip(recorded.capture.input_names, (t.numpy() for t in _doubled(recorded.inputs)), strict=True))
    read = DoubleGraph(models[0]).run(wide)
    for index, (name, true) in enumerate(zip(recorded.capture.output_names, truth, strict=True)):
        error = _error(read[name], true.numpy().astype(np.float64))
        assert error <= exact, f"read in float64, output {index}: {error:.1e}"
    return models


def _has_transposed_forward(recorded: Recorded) -> bool:
    nodes = recorded.capture.module.graph.nodes
    return any(str(n.target) == "aten.convolution.default" and n.args[6] for n in nodes if n.op == "call_function")
