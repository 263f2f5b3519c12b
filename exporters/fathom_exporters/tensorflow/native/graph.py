"""A captured step with its state in TensorFlow's variables, which it reads at its beginning and writes at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_exporters.tensorflow.capture import Captured
from fathom_exporters.tensorflow.optimizers import STEP_SCOPE
from fathom_exporters.tensorflow.translate.scopes import tags
from fathom_onnx.workloads.contract import Array, Mode, NoiseSource, Variable, Workload

__all__ = ["NativeGraph", "NativeSession", "native_graph", "open_session"]

_SCOPE = "variables"

_LOADED_AT_ONCE = 50
"""Variables that one run of the session loads."""


@dataclass(frozen=True)
class NativeGraph:
    """A step as a graph that a session runs.

    Attributes:
        graph: The graph; the step's operations have their captured names.
        loads: Variable name to the placeholder of a value and the operation that stores it.
        feeds: Batch input to its placeholder.
        results: Output name to tensor, new state left out.
        updates: The operations that store the new state.
        tags: The tag of each node, by name.
    """

    graph: tf.Graph
    loads: dict[str, tuple[tf.Tensor, tf.Operation]]
    feeds: dict[str, tf.Tensor]
    results: dict[str, tf.Tensor]
    updates: tuple[tf.Operation, ...]
    tags: dict[str, Tag]


def _variable_tag(workload: Workload, variable: Variable, node: str, written: bool) -> Tag:
    """The tag of a variable's read or write: in the layer that owns it, or in the update of a parameter."""
    parameters = {p.name for p in workload.parameters}
    slots = {v.name for v in workload.optimizer.variables(workload.parameters)}
    if variable.name in slots or (written and variable.name in parameters):
        owner = variable.name if variable.name in parameters else variable.layer
        return Tag("optimizer", owner if owner in parameters else STEP_SCOPE, workload.optimizer.OP, node)
    return Tag("forward", variable.layer, "Identity", node)


def native_graph(captured: Captured, mode: Mode, noise: NoiseSource) -> NativeGraph:
    """The graph of a captured step and its variables.

    Raises:
        ExportError: An operation has no canonical op or no layer.
    """
    workload = captured.workload
    interface = workload.interface(mode, noise)
    variables = {v.name: v for v in workload.variables(mode)}
    placeholders = {name: tensor for tensor, name in captured.inputs.items()}
    node_tags = tags(captured.graph, workload)
    loads, feeds, handles, inputs = {}, {}, {}, {}
    with tf.Graph().as_default() as graph:
        for number, spec in enumerate(interface.inputs):
            dtype = tf.as_dtype(spec.dtype)
            feed = tf.compat.v1.placeholder(dtype, spec.shape, f"{_SCOPE}/feed_{number}")
            if spec.name not in variables:
                feeds[spec.name] = inputs[placeholders[spec.name]] = feed
                continue
            handle = tf.raw_ops.VarHandleOp(
                dtype=dtype, shape=spec.shape, shared_name=spec.name, name=f"{_SCOPE}/handle_{number}"
            )
            load = tf.raw_ops.AssignVariableOp(resource=handle, value=feed, name=f"{_SCOPE}/load_{number}")
            read = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype, name=f"{_SCOPE}/read_{number}")
            handles[spec.name], loads[spec.name] = handle, (feed, load)
            inputs[placeholders[spec.name]] = read
            node_tags[read.op.name] = _variable_tag(workload, variables[spec.name], read.op.name, written=False)
        names = list(captured.outputs)
        tensors = tf.import_graph_def(captured.graph.as_graph_def(), input_map=inputs, return_elements=names, name="")
        outputs = {captured.outputs[name]: tensor for name, tensor in zip(names, tensors, strict=True)}
        updates = []
        for number, (new, name) in enumerate(interface.state):
            stored = tf.raw_ops.AssignVariableOp(
                resource=handles[name], value=outputs.pop(new), name=f"{_SCOPE}/write_{number}"
            )
            node_tags[stored.name] = _variable_tag(workload, variables[name], stored.name, written=True)
            updates.append(stored)
    return NativeGraph(graph, loads, feeds, outputs, tuple(updates), node_tags)


class NativeSession:
    """A session of a step and its state."""

    def __init__(self, session: Any, graph: NativeGraph) -> None:
        self._session, self._graph = session, graph
        fetched = [graph.results, list(graph.updates)]
        feeds = list(graph.feeds.values())
        self._plain: Callable[..., Any] = session.make_callable(fetched, feeds)
        self._traced: Callable[..., Any] = session.make_callable(fetched, feeds, accept_options=True)

    def load(self, values: Mapping[str, Array]) -> None:
        """Store a value in every variable."""
        # TensorFlow prepares the graph once more for each new set of operations to run, which takes longer than the
        # copy. So several variables at once, but not all of them: their values would all be in memory twice
        names = list(self._graph.loads)
        for start in range(0, len(names), _LOADED_AT_ONCE):
            group = {name: self._graph.loads[name] for name in names[start : start + _LOADED_AT_ONCE]}
            self._session.run(
                [load for _, load in group.values()], {feed: values[name] for name, (feed, _) in group.items()}
            )

    def step(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Run one step; its outputs besides new state."""
        results: dict[str, Array] = self._plain(*(batch[name] for name in self._graph.feeds))[0]
        return results

    def traced_step(self, batch: Mapping[str, Array]) -> Any:
        """Run one step; TensorFlow's ``StepStats`` of it."""
        # a trace of the nodes alone: a full one adds a profile of the host, which nothing reads
        options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.SOFTWARE_TRACE)
        metadata = tf.compat.v1.RunMetadata()
        self._traced(*(batch[name] for name in self._graph.feeds), options=options, run_metadata=metadata)
        return metadata.step_stats


@contextlib.contextmanager
def open_session(graph: NativeGraph, threads: int, optimized: bool) -> Iterator[NativeSession]:
    """A session that runs one operation at a time.

    Args:
        graph: What it runs.
        threads: Threads inside an operation.
        optimized: Whether TensorFlow may rewrite the graph (Grappler, constant folding), as it does by default.
    """
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1, use_per_session_threads=True
    )
    if not optimized:
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        config.graph_options.optimizer_options.opt_level = tf.compat.v1.OptimizerOptions.L0
    # not entered itself: it would become the default for any TensorFlow that the caller runs meanwhile
    with contextlib.closing(tf.compat.v1.Session(graph=graph.graph, config=config)) as session:
        yield NativeSession(session, graph)
