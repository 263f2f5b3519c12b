"""Whether a provider can be used on this machine: a wheel lists CUDA on machines without a GPU too.

A graph of two nodes is run on it, a convolution and a product, and its result compared. That is done in a process of
its own: a CUDA context takes device memory as long as its process lives, and a driver that crashes ends only that one.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import onnx
from onnx import helper

from fathom_onnx.errors import RunError, UnknownNameError
from fathom_onnx.processes import ended_at_import, refuse_during_import
from fathom_onnx.refusals import explain
from fathom_onnx.runtime.providers.cuda_libraries import session_fault
from fathom_onnx.runtime.providers.names import PROVIDERS, check_provider, onnxruntime

from .prepare import Prepared
from .session import open_session
from .settings import SessionSettings

__all__ = ["check_usable", "try_provider"]

_IMAGE, _FILTER = (1, 1, 4, 4), (1, 1, 1, 1)


def check_usable(name: str) -> None:
    """Check that a graph runs on a provider here; seconds for one with a device.

    Raises:
        UnknownNameError: No provider of this name.
        UsageError: A script that calls this without the guard ``if __name__ == "__main__":``.
        MissingDependencyError: onnxruntime, the provider, or a library it needs is absent.
        RunError: The provider does not work: no device, no driver, or wrong numbers.
    """
    if name not in PROVIDERS:
        raise UnknownNameError("provider", name, PROVIDERS)
    provider = PROVIDERS[name]
    listed = onnxruntime(provider.extra).get_available_providers()
    if name == "cpu" or provider.full_name not in listed:
        check_provider(name)
        return
    refuse_during_import("check_usable")
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, spawn) as pool:
            try:
                pool.submit(_quiet).result()
            except BrokenProcessPool as error:
                raise ended_at_import() from error
            pool.submit(try_provider, name).result()
    except BrokenProcessPool as error:
        raise RunError(
            f"a process that used provider '{name}' died", f"check the device and its driver; {provider.fix}"
        ) from error


def _quiet() -> None:
    """Write nowhere: what onnxruntime prints when it cannot load something is in the error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def try_provider(name: str) -> None:
    """Run two nodes on a provider, in this process.

    Raises:
        MissingDependencyError: The provider or a library it needs is absent.
        RunError: onnxruntime refuses, or the numbers are wrong.
    """
    image, kernel = np.ones(_IMAGE, np.float32), np.full(_FILTER, 2, np.float32)
    session = open_session(_model(), SessionSettings(name))
    try:
        (result,) = session.run(None, {"x": image, "w": kernel})
    except Exception as error:
        fault = session_fault(str(error)) if name == "cuda" else None
        refusal = explain(error)
        raise fault or RunError(
            f"provider '{name}' cannot run a graph ({refusal.reason})",
            refusal.advice_or("check the device and its driver"),
        ) from error
    # a convolution with 2 makes every element 2; a row of four of them by a column of ones is 8
    if not np.array_equal(result, np.full(_IMAGE, 8, np.float32)):
        raise RunError(f"provider '{name}' gives wrong numbers", "check the device and its driver")


def _model() -> Prepared:
    float32 = onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(n, float32, s) for n, s in (("x", _IMAGE), ("w", _FILTER))]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("MatMul", ["c", "x"], ["y"])]
    graph = helper.make_graph(nodes, "usable", inputs, [helper.make_tensor_value_info("y", float32, _IMAGE)])
    return Prepared(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), {}, (), {})
