"""The recording of a step as a graph of aten operations, each with its phase, layer and canonical op.

``make_fx`` runs the step on fake tensors. Functionalisation turns updates in place (batch-norm statistics) into values.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.functional_tensor import dispatch_functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta

from fathom_exporters.lowering import Tag
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.workloads.contract import Workload

from .aten import canonical_op
from .averages import averages_by_tensor
from .decompositions import DECOMPOSITIONS
from .models import make_pure
from .step import OP, PHASE, SCOPE, layer_marks, make_step

__all__ = ["Capture", "capture"]

_COPIES = ("aten.detach.default", "aten.clone.default", "aten.alias.default", "aten.lift_fresh_copy.default")


@dataclass(frozen=True)
class Capture:
    """A recorded step.

    Attributes:
        module: The graph of aten operations; placeholders and outputs in interface order.
        inputs: Example inputs in interface order.
        input_names: Interface names of the placeholders.
        output_names: Interface names of the outputs.
        tags: Where each operation belongs, by node name.
    """

    module: fx.GraphModule
    inputs: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    tags: Mapping[str, Tag]


_VIEWS = ("aten.view.default", "aten._unsafe_view.default")


def _is_copy(node: fx.Node) -> bool:
    """Whether a node returns its input; a clone that changes the memory layout for a view does more."""
    if node.op != "call_function" or str(node.target) not in _COPIES:
        return False
    return "memory_format" not in node.kwargs or not any(str(user.target) in _VIEWS for user in node.users)


def _drop_copies(module: fx.GraphModule) -> None:
    """Replace detached and cloned values by the values themselves: in a functional graph they are the same."""
    for node in module.graph.nodes:
        if _is_copy(node):
            node.replace_all_uses_with(node.args[0])
    module.graph.eliminate_dead_code()
    module.recompile()


class _Tagger:
    """Finds phase, scope and op of every operation, from annotations and autograd's sequence numbers.

    Operations of the forward pass, the loss and the optimizer have annotations (:mod:`fathom_exporters.torch.step`). A
    backward operation has the sequence number of the forward operation whose gradient it computes. A sum of gradients
    has neither, and belongs to the layer whose output's gradient it is.
    """

    def __init__(self, graph: fx.Graph, workload: Workload) -> None:
        self._workload = workload
        self._operations = [node for node in graph.nodes if node.op == "call_function"]
        self._forward: dict[int, str] = {}
        for node in self._operations:
            mark = self._annotated(node)
            if mark.get(PHASE) in ("forward", "loss") and "seq_nr" in node.meta:
                scope = mark.get(SCOPE) or self._neighbour_scope(node)
                if scope:
                    self._forward.setdefault(node.meta["seq_nr"], scope)

    @staticmethod
    def _annotated(node: fx.Node) -> Mapping[str, str]:
        """The marks of a recorded operation."""
        mark: Mapping[str, str] = node.meta.get("custom") or {}
        return mark

    def _user_scope(self, node: fx.Node, seen: set[fx.Node]) -> str | None:
        """The scope of the operations that use a value, past further sums of gradients."""
        scopes = list(self._user_scopes(node, seen))
        between = self._between(set(scopes), node) if len(set(scopes)) > 1 else None
        return between or next(iter(scopes), None)

    def _user_scopes(self, node: fx.Node, seen: set[fx.Node]) -> Iterator[str]:
        for user in node.users:
            if user.op != "call_function" or user in seen:
                continue
            seen.add(user)
            mark = self._annotated(user)
            layer = mark[SCOPE].rpartition(".")[0] if mark.get(PHASE) == "optimizer" else ""
            if layer:
                yield layer
            if PHASE in mark:  # what all parameters share, such as their norm, belongs to no layer
                continue
            scope = self._user_scope(user, seen) if user.meta.get("is_gradient_acc") else None
            scope = scope or self._forward.get(user.meta.get("seq_nr", -1))
            if scope:
                yield scope

    def _between(self, scopes: set[str], node: fx.Node) -> str | None:
        """The layer between a sum and several readers: one whose gradient is its output's, such as an addition."""
        return self._joins.get((frozenset(scopes), tuple(node.meta["val"].shape)))

    @functools.cached_property
    def _joins(self) -> dict[tuple[frozenset[str | None], tuple[int, ...]], str]:
        """The scopes that a forward operation reads and its output's shape, to its layer; the first one counts."""
        joins: dict[tuple[frozenset[str | None], tuple[int, ...]], str] = {}
        for forward in self._operations:
            mark = self._annotated(forward)
            result = forward.meta["val"]
            if mark.get(PHASE) == "forward" and SCOPE in mark and isinstance(result, Tensor):
                sources = frozenset(self._annotated(source).get(SCOPE) for source in forward.all_input_nodes)
                joins.setdefault((sources, tuple(result.shape)), mark[SCOPE])
        return joins

    def _neighbour_scope(self, node: fx.Node) -> str | None:
        """The scope of the nearest operation before or, failing that, after one outside every layer."""
        return self._nearest(node, lambda n: n.all_input_nodes) or self._nearest(node, lambda n: list(n.users))

    def _nearest(self, node: fx.Node, onward: Callable[[fx.Node], list[fx.Node]]) -> str | None:
        """The first annotated scope, breadth first."""
        seen: set[fx.Node] = set()
        queue = onward(node)
        while queue:
            other = queue.pop(0)
            if other in seen:
                continue
            seen.add(other)
            scope = self._annotated(other).get(SCOPE)
            if scope:
                return scope
            queue = queue + onward(other)
        return None

    def _phase_and_scope(self, node: fx.Node) -> tuple[str, str | None]:
        mark = self._annotated(node)
        if PHASE in mark:
            return mark[PHASE], mark.get(SCOPE) or self._neighbour_scope(node)
        if node.meta.get("is_gradient_acc"):
            scope = self._user_scope(node, set())
            if scope:
                return "backward", scope
        return "backward", self._forward.get(node.meta.get("seq_nr", -1)) or self._user_scope(node, set())

    def tags(self) -> dict[str, Tag]:
        """Node name to tag.

        Raises:
            ExportError: An operation is in no layer, or has no canonical op.
        """
        tags = {}
        for node in self._operations:
            phase, scope = self._phase_and_scope(node)
            if scope is None:
                raise ExportError(f"operation '{node.name}' ({node.target}) of {phase} is in no layer of the model")
            op = self._annotated(node).get(OP) or canonical_op(node)
            tags[node.name] = Tag(phase, scope, op, node.name)
        return tags


def _refuse_unchanged(graph: fx.Graph, output_names: Iterable[str]) -> None:
    """Refuse an output that is an input: a file's tensor has one name.

    Raises:
        ExportError: There is one.
    """
    output = next(node for node in graph.nodes if node.op == "output")
    for name, value in zip(output_names, output.args[0], strict=True):
        if value.op == "placeholder":
            raise ExportError(
                f"a step of the PyTorch model does not change '{name.removesuffix('.next')}'",
                "leave it out of the workload if nothing reads it",
            )


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _refuse_draws(tags: Mapping[str, Tag]) -> None:
    """Refuse a step that draws what should be an input.

    Raises:
        ExportError: It draws.
    """
    for tag in tags.values():
        if tag.op in ("Dropout", "RandomNormal", "RandomUniform"):
            raise ExportError(
                f"the model draws its own random numbers in '{tag.scope}', so that no two steps are comparable",
                "take them from the batch, as noise of the workload",
            )


def capture(request: ExportRequest) -> Capture:
    """Record the step of a request.

    Raises:
        ExportError: The model and the workload do not agree, the model draws noise that should be an input, an
            output is an input, or an operation has no layer or canonical op.
    """
    workload = request.workload
    interface = workload.interface(request.mode, request.noise)
    input_names = tuple(t.name for t in interface.inputs)
    output_names = tuple(t.name for t in interface.outputs)
    model = make_pure(workload)
    step = make_step(model, workload, request.mode)
    inputs = tuple(torch.zeros(t.shape, dtype=getattr(torch, t.dtype)) for t in interface.inputs)

    def flat(*values: Tensor) -> tuple[Tensor, ...]:
        outputs = step(dict(zip(input_names, values, strict=True)))
        return tuple(outputs[name] for name in output_names)

    with preserve_node_meta(), averages_by_tensor(), layer_marks(model, workload):
        functional: Any = dispatch_functionalize(flat)
        module = make_fx(functional, decomposition_table=DECOMPOSITIONS, tracing_mode="fake")(*inputs)
    _drop_copies(module)
    _refuse_unchanged(module.graph, output_names)
    tags = _Tagger(module.graph, workload).tags()
    if request.noise == "input":
        _refuse_draws(tags)
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    for node, name in zip(placeholders, input_names, strict=True):
        node.name = node.target = f"in_{_identifier(name)}"
    module.recompile()
    return Capture(module, inputs, input_names, output_names, tags)
