"""One step of a graph from given values, the batch in the form in which the model's own code takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fathom_onnx.data import batches_for_graph
from fathom_onnx.data.given.casting import in_type
from fathom_onnx.errors import DataError, UnknownNameError, one_line
from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.recipes.batch import BatchPath, path_name, tensors
from fathom_onnx.workloads.contract import Array, Workload

from .environment import cpu_cores
from .prepare import prepare
from .settings import SessionSettings
from .stepper import open_stepper
from .weights import variable_values

__all__ = ["run_step"]

_NEXT = ".next"


def run_step(
    graph: Graph,
    batch: Any = None,
    values: Mapping[str, Any] | None = None,
    *,
    ep: str = "cpu",
    threads: int | None = None,
    seed: int = 0,
) -> dict[str, Array]:
    """Run one step in onnxruntime.

    Args:
        graph: A graph.
        batch: In the structure of the recipe's batch (:mod:`fathom_onnx.recipes.batch`) with tensors of any framework
            or arrays of NumPy, or arrays by the names of the graph's inputs. By default the example batch, or what the
            graph's data source gives. Noise inputs that it leaves out are drawn.
        values: Values of variables by name, in place of the stored ones; the results of another step may be given as
            they are, so that this one goes on from there.
        ep: Execution provider, ``cpu`` or ``cuda``.
        threads: Threads inside an operator; all the cores this process may use when not given.
        seed: Seed of what is drawn.

    Returns:
        Of a training graph ``loss`` and the new value of every variable, ``<name>.next``; of any other its outputs.

    Raises:
        UnknownNameError: A value is of no variable of the graph, or the batch has what the graph does not take.
        DataError: A value is missing, or of another shape or type.
        GraphError: The graph's stored values cannot be read.
        RunError: onnxruntime fails.
    """
    start = variable_values(graph, seed) | _given_values(graph, values or {})
    prepared = prepare(graph, start, seed)
    fed = _fed(graph, batch, seed)
    stepper = open_stepper(prepared, SessionSettings(ep, threads or cpu_cores()))
    stepper.step(fed)
    state = stepper.state()
    return stepper.results() | {output: state[name] for output, name in prepared.state}


def _given_values(graph: Graph, values: Mapping[str, Any]) -> dict[str, Array]:
    variables = {v.name: v for v in graph.metadata.variables} if graph.metadata else {}
    found = {}
    for given, value in values.items():
        name = given.removesuffix(_NEXT) if given not in variables else given
        if given == Workload.LOSS and name not in variables:
            continue  # of the results of another step
        if name not in variables:
            raise UnknownNameError("variable", given, variables)
        found[name] = _fitted(value, variables[name].shape, variables[name].dtype, f"variable '{name}'")
    return found


def _fed(graph: Graph, batch: Any, seed: int) -> dict[str, Any]:
    if batch is None:
        return dict(next(batches_for_graph(graph, seed)))
    inputs = {tensor.name: tensor for tensor in graph.batch_inputs}
    draws = set(graph.metadata.draws if graph.metadata else ())
    leaves = _by_input(graph, batch, set(inputs) - draws)
    missing = [name for name in inputs if name not in leaves]
    if any(name not in draws for name in missing):
        absent = next(name for name in missing if name not in draws)
        raise DataError(f"the batch has no '{absent}'", f"give values for {', '.join(n for n in inputs)}")
    drawn = next(batches_for_graph(graph, seed, only=missing)) if missing else {}
    return {**drawn, **{name: _input(inputs[name], leaf) for name, leaf in leaves.items()}}


def _by_input(graph: Graph, batch: Any, needed: set[str]) -> dict[str, Any]:
    """The tensors of a batch by the names of the inputs that they are for."""
    inputs = [tensor.name for tensor in graph.batch_inputs]
    if isinstance(batch, Mapping) and batch and all(name in inputs for name in batch):
        return dict(batch)
    paths = dict(graph.metadata.paths) if graph.metadata else {}
    found = tensors(batch)
    if paths and needed <= paths.keys() and all(paths[name] in found for name in needed):
        unknown = [path for path in found if path not in paths.values()]
        if unknown:
            raise UnknownNameError("part of the batch", _told(unknown[0]), [_told(path) for path in paths.values()])
        return {name: found[paths[name]] for name in needed}
    in_order = [name for name in inputs if name in needed]
    if not isinstance(batch, Mapping) and len(found) == len(in_order):
        return dict(zip(in_order, found.values(), strict=True))
    raise _mismatch(batch, found, paths, in_order)


def _mismatch(
    batch: Any, found: Mapping[BatchPath, Any], paths: Mapping[str, BatchPath], needed: list[str]
) -> Exception:
    names = ", ".join(needed)
    if isinstance(batch, Mapping):
        absent = [name for name in needed if paths.get(name, (name,)) not in found]
        return DataError(f"the batch has no '{_told(paths.get(absent[0], (absent[0],)))}'", f"give values for {names}")
    count = f"{len(found)} tensor{'' if len(found) == 1 else 's'}"
    return DataError(f"the batch has {count}, and the graph takes {len(needed)}", f"give values for {names}")


def _told(path: BatchPath) -> str:
    return path_name(path) or "the batch itself"


def _input(tensor: Tensor, leaf: Any) -> Array:
    return _fitted(leaf, tensor.shape, tensor.dtype, f"input '{tensor.name}'")


def _fitted(value: Any, shape: tuple[int, ...] | None, dtype: str, what: str) -> Array:
    array = _array(value, what)
    if shape is not None and array.shape != shape:
        raise DataError(f"{what} is of shape {list(shape)}, not {list(array.shape)}", "give values of that shape")
    return in_type(array, dtype, what)[0]


def _array(value: Any, what: str) -> Array:
    """A tensor of any framework as an array."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
        return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    except Exception as error:  # whatever the framework refuses
        raise DataError(
            f"{what} cannot be read as an array ({type(error).__name__}: {one_line(error, 100)})",
            "give an array of NumPy",
        ) from error
