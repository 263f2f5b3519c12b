"""A captured step with its state in TensorFlow's variables, which the update's kernels change in place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow.capture import Captured
from fathom_exporters.tensorflow.translate.scopes import tags
from fathom_onnx.workloads.contract import Array, GradientDescent, Mode, NoiseSource, Variable, Workload

from .layouts import Permutation, inverse, permuted_reads, unpermuted
from .users import apply_kernels, kernel_slots, treated

__all__ = ["NativeGraph", "native_graph"]

_SCOPE = "variables"


@dataclass(frozen=True)
class NativeGraph:
    """A step as a graph that a session runs.

    Attributes:
        graph: The graph; the step's operations have their captured names.
        loads: Variable name to the placeholder of a value and the operation that stores it.
        zeroed: The operations that store zeros in the variables that only the update's kernels have.
        feeds: Batch input to its placeholder, in the layout of :meth:`laid_out`.
        results: Output name to tensor, new state left out.
        updates: The operations that store the new state.
        tags: The tag of each node, by name.
        permuted: Variables and batch inputs that are kept in the layout of TensorFlow's kernels, to the permutation
            into it.
    """

    graph: tf.Graph
    loads: dict[str, tuple[tf.Tensor, tf.Operation]]
    zeroed: tuple[tf.Operation, ...]
    feeds: dict[str, tf.Tensor]
    results: dict[str, tf.Tensor]
    updates: tuple[tf.Operation, ...]
    tags: dict[str, Tag]
    permuted: dict[str, Permutation]

    def laid_out(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """A batch as the graph takes it: images with their channels last."""
        return {
            name: np.ascontiguousarray(batch[name].transpose(self.permuted[name]))
            if name in self.permuted
            else batch[name]
            for name in self.feeds
        }


def _owners(workload: Workload) -> dict[str, str]:
    """Variable of an update that has a parameter's shape, to the parameter."""
    rule = workload.optimizer
    slots = {} if isinstance(rule, GradientDescent) else {p.name: rule.slots(p.name) for p in workload.parameters}
    return {slot: parameter for parameter, names in slots.items() for slot in names}


class _Variables:
    """The variables of a step, in the default graph.

    Attributes:
        handles: Their handles by name.
        loads: See :class:`NativeGraph`.
        values: Tensor of the captured graph to what is read in its place.
        permuted: See :class:`NativeGraph`.
        tags: The tags of the reads, by name.
    """

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self._results = [captured.graph.get_tensor_by_name(name) for name in captured.outputs]
        self._owners = _owners(captured.workload)
        self.handles: dict[str, tf.Tensor] = {}
        self.loads: dict[str, tuple[tf.Tensor, tf.Operation]] = {}
        self.values: dict[str, tf.Tensor] = {}
        self.permuted: dict[str, Permutation] = {}
        self.tags: dict[str, Tag] = {}

    def add(self, variable: Variable, tensor: tf.Tensor, number: int, feed: tf.Tensor) -> None:
        """Add a variable with its load and its read; a parameter before the update's variables of it.

        Args:
            variable: The variable.
            tensor: The captured tensor that it stands for.
            number: Its number in the interface.
            feed: The placeholder of its value.
        """
        found = permuted_reads(tensor) if self._is_fixed(variable) else None
        permutation = found[0] if found else self.permuted.get(self._owners.get(variable.name, ""))
        value = feed
        if permutation:
            self.permuted[variable.name] = permutation
            value = tf.transpose(feed, permutation, name=f"{_SCOPE}/permuted_{number}")
        handle = self._handle(variable.name, value, f"handle_{number}")
        load = tf.raw_ops.AssignVariableOp(resource=handle, value=value, name=f"{_SCOPE}/load_{number}")
        self.loads[variable.name] = feed, load
        if tensor.consumers() or any(result is tensor for result in self._results):  # not only the update reads it
            read = tf.raw_ops.ReadVariableOp(resource=handle, dtype=feed.dtype, name=f"{_SCOPE}/read_{number}")
            self.values |= {t.name: read for t in (found[1] if found else [tensor])}
            self.tags[read.op.name] = Tag("forward", variable.layer, "Identity", read.op.name)

    def _is_fixed(self, variable: Variable) -> bool:
        """Whether the captured step computes no new value of a variable, which would have the workload's layout."""
        return variable in self._captured.workload.parameters + self._captured.workload.frozen

    def zeros(self) -> tuple[tf.Operation, ...]:
        """Add the variables that only the update's kernels have; the operations that store zeros in them."""
        stores = []
        for number, (name, parameter) in enumerate(kernel_slots(self._captured.workload).items()):
            permutation = self.permuted.get(parameter.name, tuple(range(len(parameter.shape))))
            value = tf.zeros([parameter.shape[axis] for axis in permutation], name=f"{_SCOPE}/zeros_{number}")
            handle = self._handle(name, value, f"further_{number}")
            stores.append(tf.raw_ops.AssignVariableOp(resource=handle, value=value, name=f"{_SCOPE}/zero_{number}"))
        return tuple(stores)

    def _handle(self, name: str, value: tf.Tensor, node: str) -> tf.Tensor:
        handle = tf.raw_ops.VarHandleOp(dtype=value.dtype, shape=value.shape, shared_name=name, name=f"{_SCOPE}/{node}")
        self.handles[name] = handle
        return handle


def native_graph(captured: Captured, mode: Mode, noise: NoiseSource) -> NativeGraph:
    """The graph of a captured step and its variables.

    Args:
        captured: The step; in training with gradients and without an update, which is made here of the kernels of
            TensorFlow's optimizers.
        mode: Its mode.
        noise: Where random tensors come from.

    Raises:
        ExportError: An operation has no canonical op or no layer.
    """
    workload = captured.workload
    interface = workload.interface(mode, noise)
    known = {v.name: v for v in workload.variables(mode)}
    placeholders = {name: tensor for tensor, name in captured.inputs.items()}
    feeds: dict[str, tf.Tensor] = {}
    given: dict[str, tf.Tensor] = {}
    with tf.Graph().as_default() as graph:
        variables = _Variables(captured)
        for number, spec in enumerate(interface.inputs):
            tensor = captured.graph.get_tensor_by_name(placeholders[spec.name])
            found = None if spec.name in known else permuted_reads(tensor)
            shape = [spec.shape[axis] for axis in found[0]] if found else spec.shape
            feed = tf.compat.v1.placeholder(tf.as_dtype(spec.dtype), shape, f"{_SCOPE}/feed_{number}")
            if spec.name in known:
                variables.add(known[spec.name], tensor, number, feed)
                continue
            feeds[spec.name] = feed
            if found:
                variables.permuted[spec.name] = found[0]
            given |= {t.name: feed for t in (found[1] if found else [tensor])}
        zeroed = variables.zeros()
        results, gradients = _imported(captured, variables, given)
        node_tags = tags(captured.graph, workload) | variables.tags
        updates = []
        for number, variable in enumerate(workload.carried(mode)):
            if variable.next.name in results:
                value = results.pop(variable.next.name)
                handle = variables.handles[variable.name]
                updates.append(
                    tf.raw_ops.AssignVariableOp(resource=handle, value=value, name=f"{_SCOPE}/write_{number}")
                )
                node_tags[updates[-1].name] = Tag("forward", variable.layer, "Identity", updates[-1].name)
        if mode == "training":
            updates += _updated(workload, variables, gradients, feeds)
            node_tags |= _update_tags(graph, workload)
    return NativeGraph(
        graph, variables.loads, zeroed, feeds, results, tuple(updates), node_tags, dict(variables.permuted)
    )


def _imported(
    captured: Captured, variables: _Variables, given: dict[str, tf.Tensor]
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """The captured step on the variables' values: its outputs by name, and its gradients in the parameters' layouts."""
    wanted = {output: name for name, output in captured.outputs.items() if output not in captured.gradients.values()}
    late: set[str] = set()
    tensors = {output: name for name, output in captured.outputs.items()}
    for parameter, output in captured.gradients.items():
        tensor = captured.graph.get_tensor_by_name(tensors[output])
        permutation = variables.permuted.get(parameter)
        before = unpermuted(tensor, inverse(permutation)) if permutation else tensor
        if before is None:
            late.add(parameter)
        wanted[parameter] = (tensor if before is None else before).name
    found = tf.import_graph_def(
        captured.graph.as_graph_def(),
        input_map={**variables.values, **given},
        return_elements=list(wanted.values()),
        name="",
    )
    results = dict(zip(wanted, found, strict=True))
    gradients = {parameter: results.pop(parameter) for parameter in captured.gradients}
    for parameter in late:
        with tf.name_scope(f"optimizer/{parameter}/"):
            gradients[parameter] = tf.transpose(gradients[parameter], variables.permuted[parameter])
    return results, gradients


@contextlib.contextmanager
def _update_scope(name: str) -> Iterator[None]:
    # the slash at the end makes it the same scope each time; without it TensorFlow numbers scopes
    with tf.name_scope(f"optimizer/{name}/"):
        yield


def _updated(
    workload: Workload, variables: _Variables, gradients: dict[str, tf.Tensor], feeds: dict[str, tf.Tensor]
) -> list[tf.Operation]:
    """The operations that update the parameters, once all variables have been read."""
    given = {name: feeds[name] for name in feeds if name.endswith(".gradient_noise")}
    treatment = treated(workload.gradients, gradients, given, _update_scope)
    with tf.control_dependencies([read.op for read in variables.values.values()]):
        return apply_kernels(workload, variables.handles, treatment, feeds, _update_scope)


def _update_tags(graph: tf.Graph, workload: Workload) -> dict[str, Tag]:
    """The tags of the operations of the treatment and the update, which have them in their names."""
    found: dict[str, Tag] = {}
    treatment = workload.gradients.OP
    for op in graph.get_operations():
        path = str(op.name).split("/")
        if path[0] == "optimizer":
            canonical = treatment if treatment in path[2:] else workload.optimizer.OP
            found[op.name] = Tag("optimizer", path[1], canonical, op.name)
    return found
