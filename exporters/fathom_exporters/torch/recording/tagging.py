"""Phase, layer and canonical op of every operation of a recorded step."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from torch import Tensor, fx

from fathom_exporters.lowering import Tag
from fathom_exporters.torch.aten import canonical_op
from fathom_exporters.torch.stepping import OP, PHASE, SCOPE
from fathom_exporters.torch.stepping.recomputing import RECOMPUTED
from fathom_exporters.torch.stepping.subject import Subject
from fathom_onnx.errors import ExportError
from fathom_onnx.graph.address import scope_of
from fathom_onnx.workloads.contract import Workload

__all__ = ["Tagger"]


class Tagger:
    """Finds phase, scope and op of every operation, from annotations and autograd's sequence numbers.

    The forward pass, the loss and the optimizer have annotations (:mod:`fathom_exporters.torch.stepping`).
    A backward operation has the sequence number of the forward operation whose gradient it computes. A sum of gradients
    has neither, and belongs to the layer whose output's gradient it is.
    """

    def __init__(
        self, graph: fx.Graph, subject: Subject, outputs: Sequence[str], common: Collection[fx.Node] = ()
    ) -> None:
        self._subject = subject
        self._layers = {layer.name for layer in subject.workload.layers}
        self._common = set(common)
        (output,) = (node for node in graph.nodes if node.op == "output")
        self._outputs = dict(zip(outputs, output.args[0], strict=True))
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
            updated = mark.get(SCOPE) or self._updated(user) if mark.get(PHASE) == "optimizer" else ""
            layer = updated.rpartition(".")[0]
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
        if RECOMPUTED in mark:
            return "backward", mark.get(SCOPE) or self._neighbour_scope(node)
        if mark.get(PHASE) == "optimizer":
            return "optimizer", mark.get(SCOPE) or self._updated(node)
        if PHASE in mark:
            return mark[PHASE], mark.get(SCOPE) or self._neighbour_scope(node)
        if node.meta.get("is_gradient_acc"):
            scope = self._user_scope(node, set())
            if scope:
                return "backward", scope
        return "backward", self._forward.get(node.meta.get("seq_nr", -1)) or self._user_scope(node, set())

    @functools.cached_property
    def _updates(self) -> dict[fx.Node, set[str]]:
        """Operation of the optimizer to the parameters for whose new values or state it is computed."""
        owners = {f"{name}.next": name for name in self._subject.parameters}
        shared = Counter(slot for slots in self._subject.slots.values() for slot in slots.values())
        for name, slots in self._subject.slots.items():
            owners |= {f"{slot}.next": name for slot in slots.values() if shared[slot] == 1}
        found: dict[fx.Node, set[str]] = {}
        for name, owner in owners.items():
            if name in self._outputs:
                found.setdefault(self._outputs[name], set()).add(owner)
        for node in reversed(self._operations):
            if self._annotated(node).get(PHASE) == "optimizer":
                for source in node.all_input_nodes:
                    found.setdefault(source, set()).update(found.get(node, ()))
        return found

    def _updated(self, node: fx.Node) -> str:
        """The parameter that an operation of the optimizer updates, or the step where it serves several."""
        owners = self._updates.get(node, set())
        return next(iter(owners)) if len(owners) == 1 and node not in self._common else "step"

    def _tag_of_copy(self, name: str) -> tuple[str, str, str]:
        """Phase, scope and op of an output that is another tensor as it is."""
        variable = name.removesuffix(".next")
        if name == Workload.LOSS:
            return "loss", Workload.LOSS, "Identity"
        owners = {variable: variable} if variable in self._subject.parameters else {}
        owners |= {slot: "step" for slots in self._subject.slots.values() for slot in slots.values()}
        if name.endswith(".next") and variable in owners:
            return "optimizer", owners[variable], "Identity"
        layer = variable.rpartition(".")[0]
        return "forward", layer if layer in self._layers else self._root, "Identity"

    @property
    def _root(self) -> str:
        return self._subject.root or self._subject.workload.layers[0].name

    def tags(self, copies: Collection[fx.Node] = ()) -> dict[str, Tag]:
        """Node name to tag.

        Args:
            copies: Operations that only give an output a tensor of its own.

        Raises:
            ExportError: An operation is in no layer, or has no canonical op.
        """
        names = {node: name for name, node in reversed(self._outputs.items())}
        tags = {}
        for node in self._operations:
            if node in copies:
                phase, scope, op = self._tag_of_copy(names[node])
                tags[node.name] = Tag(phase, scope_of(scope), op, node.name)
                continue
            phase, scope = self.place(node)
            op = self._annotated(node).get(OP) or canonical_op(node)
            tags[node.name] = Tag(phase, scope_of(scope), op, node.name)
        return tags

    def place(self, node: fx.Node) -> tuple[str, str]:
        """Phase and scope of an operation.

        Raises:
            ExportError: It is in no layer.
        """
        phase, scope = self._phase_and_scope(node)
        if scope is None and self._subject.root:
            scope = self._neighbour_scope(node) or self._subject.root
        if scope is None:
            raise ExportError(f"operation '{node.name}' ({node.target}) of {phase} is in no layer of the model")
        if phase in ("forward", "backward") and scope not in self._layers and scope != Workload.LOSS:
            scope = self._root
        return phase, Workload.LOSS if phase == "loss" else scope
