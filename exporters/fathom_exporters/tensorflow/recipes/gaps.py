"""What stands in the way of a recipe's graph: every operation without a translation or a canonical op, at once."""

from __future__ import annotations

import linecache
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras.src.layers.preprocessing.data_layer import DataLayer
from tf2onnx.handler import tf_op

from fathom_exporters.lowering import OPSET
from fathom_exporters.tensorflow.fold import fold
from fathom_exporters.tensorflow.refusals import AUGMENT, BY_VALUES, UNKNOWN, Refusal, refusal
from fathom_exporters.tensorflow.translate.convert import HANDLERS
from fathom_exporters.tensorflow.translate.ops import CANONICAL_OF, MOVED_AWAY
from fathom_onnx.exporting import Gap
from fathom_onnx.recipes import Recipe
from fathom_onnx.workloads.contract import Mode

from .described import Described, describe
from .graph import SHAPES
from .recorded import Traced, trace

__all__ = ["find_gaps", "gaps_of"]

_OWN = ("FusedBatchNormV3",)  # its canonical op depends on its attributes
_PACKAGES = tuple(os.path.dirname(p.__file__) + os.sep for p in (tf, keras))  # noqa: PTH120
_HERE = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_TAPE = "gradient_tape/"


def _known(op_type: str, stock: Iterable[str]) -> Refusal | None:
    """Why a type of operation is refused; None where the tables are complete."""
    if op_type in SHAPES:
        return BY_VALUES
    translated = op_type in HANDLERS or op_type in stock
    if op_type in MOVED_AWAY or (translated and (op_type in CANONICAL_OF or op_type in _OWN)):
        return None
    return refusal(op_type) or UNKNOWN


def _frame(op: tf.Operation | None) -> str:
    """File, line and text of the user's innermost line that made an operation; empty where there is none."""
    frames = list(op.traceback if op is not None else ())
    # what calls the step is the user's too, but made nothing of it
    entry = next((i for i, f in enumerate(frames) if f.filename.startswith(_HERE)), 0)
    chosen = next((f for f in reversed(frames[entry:]) if not f.filename.startswith((_HERE, *_PACKAGES))), None)
    if chosen is None:
        return ""
    return f"{chosen.filename}:{chosen.lineno}: {linecache.getline(chosen.filename, chosen.lineno).strip()}"


class _Places:
    """Where operations of a lifted graph come from: their phase, layer and line.

    A gradient has the line of the forward operation that it is the gradient of.
    """

    def __init__(self, function: Any) -> None:
        self._operations: Mapping[str, tf.Operation] = {op.name: op for op in function.graph.get_operations()}

    def source(self, name: str) -> str:
        """The line that made an operation."""
        name = name.removeprefix(_TAPE)
        while name and name not in self._operations:
            name = name.rpartition("/")[0]
        return _frame(self._operations.get(name))

    @staticmethod
    def scope(name: str) -> tuple[str, str]:
        """Phase and layer by an operation's name."""
        phase, _, rest = name.partition("/")
        if phase == _TAPE[:-1]:
            _, _, rest = rest.partition("/")
            phase = "backward"
        return (phase, rest.partition("/")[0]) if phase in ("forward", "loss", "backward", "optimizer") else ("", "")


def _by_values(op: tf.Operation) -> bool:
    """Whether an operation is the first whose result has a shape that is not known."""

    def known(tensors: Iterable[tf.Tensor]) -> bool:
        return all(t.shape.is_fully_defined() for t in tensors)

    return known(op.inputs) and not known(op.outputs[:1])


def _operations(step: Traced) -> list[tuple[str, str, bool]]:
    """Name and type of the operations that the step's results need, constants folded where that is possible.

    And whether their shape depends on values.
    """
    ends = [*step.outputs.values(), *step.gradients.values(), *(h.last for h in step.held.values() if h.changed)]
    graph_def = step.draws.put(step.lifted.graph_def, "input")
    try:
        graph = fold(graph_def, [], [end.partition(":")[0] for end in ends if end])
    except Exception:  # an operation that TensorFlow cannot run by itself
        return [(node.name, node.op, False) for node in graph_def.node]
    return [(op.name, op.type, _by_values(op)) for op in graph.get_operations()]


def find_gaps(recipe: Recipe, mode: Mode) -> tuple[Gap, ...]:
    """Every operation of a recipe's step that cannot be recorded or has no translation or canonical op.

    Raises:
        UsageError: The recipe cannot be a step.
        ExportError: Its step cannot be traced at all.
    """
    return gaps_of(describe(recipe), mode)


def gaps_of(described: Described, mode: Mode) -> tuple[Gap, ...]:
    """The gaps of a recipe that was read."""
    step = trace(described, mode)
    places = _Places(step.function)
    stock = set(tf_op.create_mapping(OPSET, []))
    found: Counter[Gap] = Counter()

    def add(name: str, op_type: str, lacks: str, rewrite: str) -> None:
        phase, layer = places.scope(name)
        if isinstance(described.structure.layers.get(layer), DataLayer):
            rewrite = AUGMENT
        found[Gap(op_type, phase, layer, places.source(name), lacks, rewrite)] += 1

    for refused in step.refused:
        add(refused.name, refused.type, refused.lacks, refused.rewrite)
    drawn = {refused.name for refused in step.refused}
    for name, op_type, by_values in _operations(step):
        known = refusal(op_type) or BY_VALUES if by_values else _known(op_type, stock)
        if known is not None and name not in drawn and "/refused_" not in name:
            add(name, op_type, *known)
    gaps = [Gap(**{**vars(gap), "count": count}) for gap, count in found.items()]
    return tuple(sorted(gaps, key=lambda gap: gap.phase == "backward"))  # a gradient lacks what its operation does
