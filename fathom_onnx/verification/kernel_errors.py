"""How far off tensors are by onnxruntime's kernels: the order of sums, functions' approximations, and kinks.

All three start from the graph's tensors in float64, of which one reading is enough.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx

from fathom_onnx.runtime.settings import SessionSettings

from .functions import errors_of_functions, inputs_of_functions
from .kinks import errors_of_kinks, tensors_with_kinks
from .reading import Reading
from .sums import errors_of_order, terms_of_sums

__all__ = ["errors_of_kernels", "tensors_needed"]


def tensors_needed(model: onnx.ModelProto, names: Collection[str]) -> list[str]:
    """The tensors that :func:`errors_of_kernels` must be given to judge some of them: those, and what it looks at."""
    looked_at = (*terms_of_sums(model, names), *inputs_of_functions(model), *tensors_with_kinks(model))
    return list(dict.fromkeys((*names, *looked_at)))


def errors_of_kernels(reading: Reading, names: Collection[str], settings: SessionSettings) -> dict[str, float]:
    """The largest error of an element by tensor that one of the causes alone explains.

    Args:
        reading: The step, with all of :func:`tensors_needed`.
        names: Names of the tensors.
        settings: How the graph runs.

    Raises:
        RunError: The graph cannot be evaluated, in float64 or in onnxruntime.
    """
    causes = (
        errors_of_order(reading, names),
        errors_of_functions(reading, names, settings),
        errors_of_kinks(reading, names, settings),
    )
    return {name: max(cause.get(name, 0.0) for cause in causes) for name in names}
