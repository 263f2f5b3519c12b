"""Sessions that run the graph of a step, one operation at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from fathom_onnx.workloads.contract import Array

from .graph import NativeGraph

__all__ = ["NativeSession", "open_session"]

_LOADED_AT_ONCE = 1 << 28
"""Bytes from which on no more variables are loaded by one run of the session."""


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
        # copy. So many variables at once, but not all of a large model: their values would all be in memory twice
        group: dict[str, Array] = {}
        for name in self._graph.loads:
            group[name] = values[name]
            if sum(value.nbytes for value in group.values()) >= _LOADED_AT_ONCE:
                self._store(group)
                group = {}
        if group:
            self._store(group)
        self._session.run(list(self._graph.zeroed))

    def _store(self, group: Mapping[str, Array]) -> None:
        loads = [self._graph.loads[name] for name in group]
        feeds = {feed: value for (feed, _), value in zip(loads, group.values(), strict=True)}
        self._session.run([load for _, load in loads], feeds)

    def step(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Run one step on a batch as the graph takes it; its outputs besides new state."""
        results: dict[str, Array] = self._plain(*(batch[name] for name in self._graph.feeds))[0]
        return results

    def traced_step(self, batch: Mapping[str, Array]) -> Any:
        """Run one step on a batch as the graph takes it; TensorFlow's ``StepStats`` of it."""
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
