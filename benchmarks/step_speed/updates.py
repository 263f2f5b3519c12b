"""Measure forms of Adam's update in standard ops against each other and PyTorch's fused kernel.

    python benchmarks/step_speed/updates.py                 # parameters of 16 thousand to 16 million elements
    python benchmarks/step_speed/updates.py 401408 --pieces 8192 65536

All forms of a size take turns in one process, on one thread. Prints a table: nanoseconds an element, the median of the
turns. *nodes* is the form of exported graphs, 12 elementwise nodes, of which the product that makes a gradient may take
one over. *products* has the sums of moments and update as Gemms with their factors, 7 nodes. *sums* has each moment as
its decay times a sum, so that more nodes can overwrite what they read. *scan* runs the 12 nodes in a Scan over pieces
of so many elements, which fit a cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnx.parser
import torch

from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings

SIZES = (2**14, 2**18, 401_408, 2**20, 2**22, 2**24)
PIECES = (2**14, 2**16)
BETA1, BETA2, EPSILON, RATE = 0.9, 0.999, 1e-7, 1e-3
FEWEST_ELEMENTS = 2**21
"""That a turn updates: small parameters several times."""

NODES = """
    a1 = Mul(m, beta1)  a2 = Mul(g, rest1)  new_m = Add(a1, a2)
    b1 = Mul(v, beta2)  b2 = Mul(g, g)  b3 = Mul(b2, rest2)  new_v = Add(b1, b3)
    c1 = Sqrt(new_v)  c2 = Add(c1, epsilon)  c3 = Div(new_m, c2)  c4 = Mul(c3, rate)  new_p = Sub(p, c4)
"""
PRODUCTS = """
    new_m = Gemm <alpha = 0.1, beta = 0.9> (one, g, m)
    b2 = Mul(g, g)  new_v = Gemm <alpha = 0.001, beta = 0.999> (one, b2, v)
    c1 = Sqrt(new_v)  c2 = Add(c1, epsilon)  c3 = Div(new_m, c2)  new_p = Gemm <alpha = -0.001> (one, c3, p)
"""
SUMS = """
    a1 = Mul(g, over1)  a2 = Add(m, a1)  new_m = Mul(a2, beta1)
    b1 = Mul(g, g)  b2 = Mul(b1, over2)  b3 = Add(v, b2)  new_v = Mul(b3, beta2)
    c1 = Sqrt(b3)  c2 = Add(c1, epsilon_of_sums)  c3 = Div(a2, c2)  c4 = Mul(c3, rate_of_sums)  new_p = Sub(p, c4)
"""
CONSTANTS = {
    "beta1": BETA1,
    "rest1": 1 - BETA1,
    "over1": (1 - BETA1) / BETA1,
    "beta2": BETA2,
    "rest2": 1 - BETA2,
    "over2": (1 - BETA2) / BETA2,
    "epsilon": EPSILON,
    "epsilon_of_sums": EPSILON / BETA2**0.5,
    "rate": RATE,
    "rate_of_sums": RATE * BETA1 / BETA2**0.5,
}
INPUTS, OUTPUTS = ("p", "m", "v", "g"), ("new_p", "new_m", "new_v")


def scan(pieces: int, size: int) -> str:
    """NODES over pieces of a parameter."""
    typed = ", ".join(f"float[{size}] {name}" for name in INPUTS)
    made = ", ".join(f"float[{size}] {name}" for name in OUTPUTS)
    read = "  ".join(f"in_{name} = Reshape({name}, cut)" for name in INPUTS)
    written = "  ".join(f"{name} = Reshape(out_{name}, whole)" for name in OUTPUTS)
    return f"""
        cut = Constant <value_ints = [{pieces}, {size}]> ()  whole = Constant <value_ints = [1, {pieces * size}]> ()
        {read}
        {", ".join(f"out_{name}" for name in OUTPUTS)} = Scan <num_scan_inputs = 4, body = piece ({typed}) => ({made})
            {{ {NODES} }}> ({", ".join(f"in_{name}" for name in INPUTS)})
        {written}
    """


def model(size: int, nodes: str) -> onnx.ModelProto:
    """A parameter's update, of tensors [1, size]."""
    given = ", ".join(f"float[1, {size}] {name}" for name in INPUTS)
    made = ", ".join(f"float[1, {size}] {name}" for name in OUTPUTS)
    constants = ", ".join(f"float {name} = {{{number!r}}}" for name, number in CONSTANTS.items())
    return onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 18]>
        update ({given}) => ({made}) <{constants}, float[1, 1] one = {{1}}> {{ {nodes} }}
    """)


def runs(size: int, pieces: list[int]) -> tuple[dict[str, Callable[[], object]], dict[str, list[np.ndarray]]]:
    """What runs each form once, and what each form of ours makes."""
    rng = np.random.default_rng(0)
    values = {name: rng.random((1, size), dtype=np.float32) for name in INPUTS}
    forms = {"nodes": NODES, "products": PRODUCTS, "sums": SUMS}
    forms |= {f"scan, {n}": scan(size // n, n) for n in pieces if size % n == 0 and size > n}
    found: dict[str, Callable[[], object]] = {}
    results = {}
    for name, nodes in forms.items():
        session = open_session(Prepared(model(size, nodes), {}, (), {}), SessionSettings("cpu", 1))
        binding = session.io_binding()
        for key, value in values.items():
            binding.bind_cpu_input(key, value)
        made = [np.empty((1, size), np.float32) for _ in OUTPUTS]
        for key, value in zip(OUTPUTS, made, strict=True):
            binding.bind_output(key, "cpu", 0, np.float32, value.shape, value.ctypes.data)
        found[name] = lambda session=session, binding=binding: session.run_with_iobinding(binding)
        results[name] = made
    parameter = torch.nn.Parameter(torch.from_numpy(values["p"].copy()))
    parameter.grad = torch.from_numpy(values["g"])
    optimizer = torch.optim.Adam([parameter], lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, fused=True)
    found["PyTorch, fused"] = optimizer.step
    return found, results


def measure(size: int, pieces: list[int], turns: int) -> dict[str, float]:
    """Form to nanoseconds an element."""
    found, results = runs(size, pieces)
    repeat = max(1, FEWEST_ELEMENTS // size)
    times: dict[str, list[float]] = {name: [] for name in found}
    for run in found.values():
        run()
    for name, made in results.items():
        for value, expected in zip(made, results["nodes"], strict=True):
            np.testing.assert_allclose(value, expected, rtol=2e-6, atol=3e-7, err_msg=name)
    for _ in range(turns):
        for name, run in found.items():
            run()
            started = time.perf_counter()
            for _ in range(repeat):
                run()
            times[name].append((time.perf_counter() - started) / repeat / size * 1e9)
    return {name: statistics.median(of_form) for name, of_form in times.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--pieces", nargs="*", type=int, default=PIECES)
    parser.add_argument("--turns", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = ["nodes", "products", "sums", *(f"scan, {n}" for n in given.pieces), "PyTorch, fused"]
    print("| elements |", " | ".join(names), "|\n|---:|" + "---:|" * len(names))
    for size in given.sizes:
        row = measure(size, given.pieces, given.turns)
        print(f"| {size:,} |", " | ".join(f"{row[n]:.2f}" if n in row else "" for n in names), "|", flush=True)
