"""Conversions: from a graph to the files that a simulator or another tool reads.

:data:`CONVERTERS` is the table of formats. A converter gives the contents of the files and an account of what of the
graph is in them; :mod:`.write` writes them.
"""

from __future__ import annotations

from fathom_onnx.errors import UnknownNameError

from .converter import ONNX_SUFFIX, Conversion, ConversionRequest, Converter, CostSums, LeftOut, Option

__all__ = [
    "CONVERTERS",
    "Conversion",
    "ConversionRequest",
    "Converter",
    "CostSums",
    "LeftOut",
    "Option",
    "find_converter",
]

CONVERTERS: dict[str, Converter] = {
    converter.name: converter
    for converter in (
        Converter(
            name="scalesim",
            description="topology CSV of convolutions or of matrix products",
            consumer="SCALE-Sim",
            suffix=".csv",
            module="simulators.scalesim",
            options=(
                Option(
                    "layout",
                    "rows are convolutions (conv), matrix products (gemm), or what loses nothing (auto)",
                    example="gemm",
                    default="auto",
                    choices=("auto", "conv", "gemm"),
                ),
            ),
        ),
        Converter(
            name="accelforge",
            description="workload YAML: an einsum for every convolution and matrix product",
            consumer="AccelForge",
            suffix=".accelforge.yaml",
            module="simulators.accelforge",
        ),
        Converter(
            name="timeloop",
            description="a problem YAML for every different layer, and an index of them",
            consumer="Timeloop",
            suffix=".timeloop.yaml",
            module="simulators.timeloop",
        ),
        Converter(
            name="maestro",
            description="network with a mapping for every convolution and matrix product",
            consumer="MAESTRO",
            suffix=".m",
            module="simulators.maestro",
            options=(
                Option(
                    "dataflow",
                    "mapping of every layer: weights stay (kcp) or outputs stay (yxp)",
                    example="yxp",
                    default="kcp",
                    choices=("kcp", "yxp"),
                ),
            ),
        ),
        Converter(
            name="chakra",
            description="execution trace: every node with its dependencies, operations and bytes",
            consumer="ASTRA-sim and the MLCommons Chakra tools",
            suffix=".0.et",
            module="simulators.chakra",
            options=(
                Option(
                    "ranks",
                    "number of processing units, one trace file each; ASTRA-sim wants at least 2",
                    example=2,
                    default=1,
                    least=1,
                ),
            ),
        ),
        Converter(
            name="initializers",
            description="the graph with its parameters as initializers in a file beside it",
            consumer="ONNXim, parameter counters",
            suffix=ONNX_SUFFIX,
            module="onnx_files.initializers",
            options=(
                Option(
                    "values",
                    "zero (a file that takes no disk), seed (starting values), or a file of arrays by name: a "
                    "checkpoint of train, or another .safetensors or .npz",
                    example="zero",
                    default="zero",
                ),
                Option("seed", "seed of the starting values", example=0, default=0),
            ),
        ),
        Converter(
            name="batch",
            description="the graph at another batch size",
            consumer="anything that reads ONNX",
            suffix=ONNX_SUFFIX,
            module="onnx_files.batch",
            options=(
                Option("batch", "the batch size wanted", example=8, required=True),
                Option(
                    "check",
                    "graphs that are not ours: compare with the original in onnxruntime (run), or shapes only",
                    example="run",
                    default="run",
                    choices=("run", "shapes"),
                ),
            ),
        ),
        Converter(
            name="compute-only",
            description="the convolutions and matrix products alone; what is between them is inputs and outputs",
            consumer="ZigZag and others that count multiply-accumulates",
            suffix=ONNX_SUFFIX,
            module="onnx_files.compute_only",
            options=(
                Option(
                    "transposed",
                    "a ConvTranspose as it is (keep), or as the matrix product within it (product)",
                    example="keep",
                    default="keep",
                    choices=("keep", "product"),
                ),
            ),
        ),
    )
}
"""Format name to converter."""


def find_converter(name: str) -> Converter:
    """The converter to a format.

    Raises:
        UnknownNameError: No such format.
    """
    if name not in CONVERTERS:
        raise UnknownNameError("format", name, CONVERTERS)
    return CONVERTERS[name]
