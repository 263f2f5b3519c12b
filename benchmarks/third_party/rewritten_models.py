"""Graphs that onnxruntime's own tools wrote of others: quantized, in half precision, fused, optimized."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from . import torch_models, transformers_models
from .torch_models import quietly
from .truth import Maker, Truth

__all__ = ["MODELS"]

_CNN = "residual block, torch script"
_BERT = "bert, torch script"
_MLP = "mlp-mixer, torch script"
_BASE = {**torch_models.MODELS, **transformers_models.MODELS}


def _dynamic(source: Path, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(path))


def _static(source: Path, path: Path, form: str) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """Four random images."""

        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left: Iterator[Any] = iter(
                [{"input_0": rng.normal(size=(2, 3, 32, 32)).astype(np.float32)} for _ in range(4)]
            )

        def get_next(self) -> Any:
            return next(self.left, None)

    quantize_static(
        str(source),
        str(path),
        Reader(),
        quant_format=getattr(QuantFormat, form),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _four_bits(source: Path, path: Path, form: str) -> None:
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=16, is_symmetric=True, quant_format=getattr(QuantFormat, form))
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    onnx.save(quantizer.model.model, path)


def _half(source: Path, path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)


def _fused(source: Path, path: Path) -> None:
    from onnxruntime.transformers.optimizer import optimize_model

    optimize_model(str(source), "bert", num_heads=4, hidden_size=64).save_model_to_file(str(path))


def _optimized(source: Path, path: Path, level: str) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


_REWRITERS: dict[str, tuple[Callable[[Path, Path], None], tuple[str, ...]]] = {
    "dynamic int8": (_dynamic, (_CNN, _BERT, _MLP)),
    "static int8, QDQ": (partial(_static, form="QDQ"), (_CNN,)),
    "static int8, operators": (partial(_static, form="QOperator"), (_CNN,)),
    "4 bits, MatMulNBits": (partial(_four_bits, form="QOperator"), (_BERT, _MLP)),
    "4 bits, QDQ": (partial(_four_bits, form="QDQ"), (_BERT,)),  # of the other it makes a graph that is not valid
    "float16": (_half, (_CNN, _BERT, _MLP)),
    "fused by onnxruntime.transformers": (_fused, (_BERT,)),
    "optimized, basic": (partial(_optimized, level="ORT_ENABLE_BASIC"), (_CNN, _BERT, _MLP)),
    "optimized, extended": (partial(_optimized, level="ORT_ENABLE_EXTENDED"), (_CNN, _BERT, _MLP)),
    "optimized, all": (partial(_optimized, level="ORT_ENABLE_ALL"), (_CNN, _BERT, _MLP)),
}


_FOLDED = (
    2 * 1024 + 1024 - 512 * 64 - 2 * 64,
    "rows of the tables of positions and types that are taken are constants",
)
"""What folding lookups of known rows leaves of BERT's tables."""


def _make(base: str, rewriter: str, path: Path) -> Truth:
    source = path.with_name(f"{path.stem}.source.onnx")
    truth = _BASE[base](source)
    logging.disable(logging.WARNING)
    with quietly():
        _REWRITERS[rewriter][0](source, path)
    source.unlink()
    if (base, rewriter) in ((_BERT, "optimized, extended"), (_BERT, "optimized, all")):
        truth = replace(truth, exporter=_FOLDED)
    return replace(truth, source=f"{truth.source}, before it was rewritten")


MODELS: dict[str, Maker] = {
    f"{base.split(',')[0]}, {rewriter}": partial(_make, base, rewriter)
    for rewriter, (_, bases) in _REWRITERS.items()
    for base in bases
}
"""Name to what writes the graph."""
