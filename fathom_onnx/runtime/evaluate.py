"""A graph as a function: all inputs in, all outputs and gradients out."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from fathom_onnx.errors import RunError
from fathom_onnx.exporting import StepResult
from fathom_onnx.graph import Graph
from fathom_onnx.refusals import explain
from fathom_onnx.workloads.contract import Array

from .prepare import Prepared
from .providers.names import onnxruntime
from .session import open_session
from .settings import DEFAULT_SETTINGS, SessionSettings

__all__ = ["Evaluator"]


class Evaluator:
    """A graph as a function from values by name to outputs by name.

    The session exposes the gradients that the graph's metadata name as further outputs; the computation is the graph's
    own.

    Args:
        graph: A graph of ours, with noise as input.
        settings: How the session runs: provider, threads.
        keep_memory: Whether the session keeps the memory that a step took on the CPU for the next one. It is quicker,
            and of a large model several GB that nothing else can have between its steps.
    """

    def __init__(self, graph: Graph, settings: SessionSettings = DEFAULT_SETTINGS, *, keep_memory: bool = True) -> None:
        self._outputs = [t.name for t in graph.outputs]
        self._gradients = dict(graph.metadata.gradients) if graph.metadata else {}
        given = {t.name for t in graph.inputs}
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        model.graph.output.extend(
            onnx.helper.make_empty_tensor_value_info(name)
            for name in dict.fromkeys(self._gradients.values())
            if name not in self._outputs and name not in given
        )
        self._session = open_session(Prepared(model, {}, (), {}), settings)
        self._inputs = {i.name for i in self._session.get_inputs()}
        self._options = onnxruntime().RunOptions()
        if not keep_memory:
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def step(self, values: Mapping[str, Array]) -> StepResult:
        """Run the graph once.

        Raises:
            RunError: A value is missing or does not fit.
        """
        missing = self._inputs - values.keys()
        if missing:
            raise RunError(f"input '{min(missing)}' has no value", "give one for every input")
        try:
            given = self._session.run(None, {name: values[name] for name in self._inputs}, self._options)
        except Exception as error:
            refusal = explain(error)
            raise RunError(f"onnxruntime failed in a step ({refusal.reason})", refusal.advice) from error
        results = {**values, **dict(zip((o.name for o in self._session.get_outputs()), given, strict=True))}
        return StepResult(
            outputs={name: results[name] for name in self._outputs},
            gradients={parameter: results[name] for parameter, name in self._gradients.items()},
        )
