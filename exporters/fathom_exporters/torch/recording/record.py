"""The recording itself.

``make_fx`` runs the step on fake tensors, which have shapes and no values. Functionalisation turns updates in place
(batch-norm statistics, an optimizer's moments) into values. Decompositions run once, here.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import dispatch_functionalize
from torch.fx._lazy_graph_module import _use_lazy_graph_module
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta
from torch.nn.attention import SDPBackend, sdpa_kernel

from fathom_exporters.torch.decompositions import decomposition_table
from fathom_exporters.torch.recorded import Capture
from fathom_exporters.torch.recording.plain_functions import plain_functions
from fathom_exporters.torch.stepping import gradient_name, layer_marks, make_step
from fathom_exporters.torch.stepping.assignments import Assignments
from fathom_exporters.torch.stepping.averages import averages_by_tensor
from fathom_exporters.torch.stepping.composites import plain_composites
from fathom_exporters.torch.stepping.knowing import Known
from fathom_exporters.torch.stepping.leaving import attributes_kept
from fathom_exporters.torch.stepping.recomputing import RECOMPUTED, repeats_are_marked
from fathom_exporters.torch.stepping.subject import Subject
from fathom_exporters.torch.translate import translated_operations
from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Interface, Mode

from .graph import (
    drop_copies,
    drop_profiler_marks,
    give_constants_values,
    half_precision,
    merge_shared_arithmetic,
    name_gradients,
    number_placeholders,
    own_outputs,
    promote_types,
)
from .packed import packed_sequences
from .tagging import Tagger
from .unchecked import without_checks

__all__ = ["plain_kernels", "record", "trace"]


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    """While entered, PyTorch's own kernels run. ``torch.backends.mkldnn.flags`` warns of what it does not change."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """While entered, attention and recurrences run in plain operations, and no argument is checked by its value."""
    with (
        sdpa_kernel(SDPBackend.MATH),
        _without_onednn(),
        without_checks(),
        Assignments(),
        averages_by_tensor(),
        plain_composites(),
        packed_sequences(),
        plain_functions(),
        repeats_are_marked(),
    ):
        yield


def fake_mode_of(model: nn.Module) -> FakeTensorMode:
    """The mode in which a model's own tensors are fake; a new one where they are real."""
    for tensor in [*model.parameters(), *model.buffers()]:
        mode = getattr(tensor, "fake_mode", None)
        if isinstance(mode, FakeTensorMode):
            return mode
    return FakeTensorMode(allow_non_fake_inputs=True)


def example_inputs(interface: Interface, mode: FakeTensorMode) -> tuple[Tensor, ...]:
    """A fake tensor for every input of an interface."""
    with mode:
        return tuple(torch.empty(t.shape, dtype=getattr(torch, t.dtype)) for t in interface.inputs)


def _unchanged_buffers(subject: Subject) -> dict[str, Tensor]:
    """The buffers that no step changes, by variable: what is read from them is a constant."""
    buffers = dict(subject.model.named_buffers())
    paths = {v.name: subject.paths.get(v.name, "") for v in subject.workload.frozen}
    return {name: buffers[path] for name, path in paths.items() if path in buffers}


def trace(
    subject: Subject,
    mode: Mode,
    interface: Interface,
    values: Mapping[str, Tensor] | None = None,
    *,
    lines: bool = False,
) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """Record a subject's step.

    Args:
        subject: The subject.
        mode: Inference or training.
        interface: Its inputs and outputs.
        values: Values of the inputs, where what depends on them shall be recorded as it is for these.
        lines: Whether each operation shall know the lines of code that called it.

    Returns:
        The graph, and the names of its outputs: those of the interface, then the gradients.
    """
    names = tuple(t.name for t in interface.inputs)
    gradients = [gradient_name(p.name) for p in subject.workload.parameters] if mode == "training" else []
    outputs = (*(t.name for t in interface.outputs), *gradients)
    known = Known(frozenset(v.name for v in subject.workload.carried(mode)))
    constants = _unchanged_buffers(subject)
    step = make_step(subject, mode, known=lambda tensors: known.of(tensors, constants, values or {}))

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        found = step(dict(zip(names, tensors, strict=True)))
        return tuple(found[name] for name in outputs)

    functional: Any = dispatch_functionalize(flat)
    table = decomposition_table(translated_operations())
    layers = {path: subject.layers.get(path, path) for path, _ in subject.model.named_modules()}
    named = {layer.name for layer in subject.workload.layers}
    marked = {path: layer for path, layer in layers.items() if layer in named}
    with (
        attributes_kept(subject.model),
        preserve_node_meta(),
        plain_kernels(),
        layer_marks(subject.model, marked),
        _use_lazy_graph_module(True),  # nobody runs the graph, and no code need be written for it
    ):
        fake = fake_mode_of(subject.model)
        inputs = example_inputs(interface, fake)
        tracer = make_fx(
            functional,
            decomposition_table=table,
            tracing_mode="fake",
            record_stack_traces=lines,
            _allow_non_fake_inputs=True,
        )
        return tracer(*inputs), outputs


def _refuse_unchanged(graph: fx.Graph, names: Sequence[str]) -> None:
    """Refuse a variable that a workload says is updated, and that no step changes.

    Raises:
        ExportError: There is one.
    """
    (output,) = (node for node in graph.nodes if node.op == "output")
    for name, value in zip(names, output.args[0], strict=False):
        if value.op == "placeholder":
            raise ExportError(
                f"a step of the PyTorch model does not change '{name.removesuffix('.next')}'",
                "leave it out of the workload if nothing reads it",
            )


def _refuse_half_precision(graph: fx.Graph, mode: Mode) -> None:
    """Refuse arithmetic in bfloat16 and, in training, in float16.

    Raises:
        ExportError: There is some.
    """
    for node in graph.nodes:
        refused = half_precision(node, mode)
        if refused is not None:
            raise ExportError(f"{node.target} {refused.reason}", refused.rewrite)


def record(subject: Subject, mode: Mode, interface: Interface, values: Mapping[str, Tensor] | None = None) -> Capture:
    """Record a subject's step, clean the graph up and say where each operation belongs; see :func:`trace`.

    Raises:
        ExportError: An operation is in no layer or has no canonical op.
    """
    module, outputs = trace(subject, mode, interface, values)
    graph = module.graph
    drop_profiler_marks(graph)
    drop_copies(graph)
    names = tuple(t.name for t in interface.inputs)
    placeholders = dict(zip(names, (node for node in graph.nodes if node.op == "placeholder"), strict=True))
    shared = {
        slot for slot, count in Counter(s for own in subject.slots.values() for s in own.values()).items() if count > 1
    }
    common = merge_shared_arithmetic(graph, [placeholders[name] for name in names if name in shared])
    promote_types(module)
    give_constants_values(module)
    _refuse_half_precision(graph, mode)
    if not subject.root:
        _refuse_unchanged(graph, outputs[: len(interface.outputs)])
    copies = own_outputs(graph, len(interface.outputs))
    tagger = Tagger(graph, subject, outputs, common)
    number_placeholders(graph)
    tags = tagger.tags(copies)
    recomputed = frozenset(n.name for n in graph.nodes if (n.meta.get("custom") or {}).get(RECOMPUTED))
    kept, gradients = name_gradients(graph, outputs, len(interface.outputs))
    by_parameter = {p.name: gradients[gradient_name(p.name)] for p in subject.workload.parameters} if gradients else {}
    return Capture(module, names, kept, tags, by_parameter, recomputed)
