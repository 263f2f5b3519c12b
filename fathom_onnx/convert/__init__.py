"""Graphs in the forms that simulators and other tools read."""

from __future__ import annotations

from ..errors import UnknownNameError
from .contract import Conversion, Converter, Coverage, LeftOut, Option, Request

__all__ = ["CONVERTERS", "Conversion", "Converter", "Coverage", "LeftOut", "Option", "Request", "find_converter"]

CONVERTERS: dict[str, Converter] = {
    converter.name: converter
    for converter in (
        Converter(
            name="scalesim",
            description="topology CSV of convolutions or of matrix products",
            consumer="SCALE-Sim",
            suffix=".csv",
            module="scalesim",
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
            module="accelforge",
        ),
        Converter(
            name="timeloop",
            description="a problem YAML for every different layer, and an index of them",
            consumer="Timeloop",
            suffix=".timeloop.yaml",
            module="timeloop",
        ),
        Converter(
            name="maestro",
            description="network with a mapping for every convolution and matrix product",
            consumer="MAESTRO",
            suffix=".m",
            module="maestro",
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
