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
