"""Graphs that are put together from the cases of single nodes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import compose, numpy_helper

from differential.cases import Case

__all__ = ["Composer"]

Key = tuple[int, tuple[int, ...]]
"""Element type and shape of a tensor."""


def _key(value: onnx.ValueInfoProto) -> Key | None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or any(not d.HasField("dim_value") for d in kind.shape.dim):
        return None
    return kind.elem_type, tuple(d.dim_value for d in kind.shape.dim)


class Composer:
    """Draws graphs.

    Args:
        cases: Cases of single nodes that onnxruntime runs, of one version of operators and of the IR.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._takers: dict[Key, list[tuple[Case, int]]] = defaultdict(list)
        for case in cases:
            for position, value in enumerate(case.model.graph.input):
                key = _key(value)
                if key is not None:
                    self._takers[key].append((case, position))

    def draw(self, chosen: random.Random, longest: int = 7) -> Case:
        """A chain of up to ``longest`` cases, with twists that change nothing of what it computes."""
        case = chosen.choice(self._cases)
        for number in range(chosen.randint(1, longest)):
            longer = self._longer(case, number, chosen)
            if longer is None:
                break
            case = longer
        plain = _copy(case)
        # what is declared of tensors between nodes would be lost with them in a function: nothing may depend on it
        del plain.graph.value_info[:]
        case = replace(case, model=plain)
        for twist in chosen.sample(TWISTS, chosen.randint(0, len(TWISTS))):
            case = twist(case, chosen)
        return replace(case, plain=plain)

    def _longer(self, case: Case, number: int, chosen: random.Random) -> Case | None:
        """The case with another one behind one of its outputs; None where none fits."""
        fitting = [
            (output.name, taker, position)
            for output in case.model.graph.output
            for taker, position in self._takers.get(_key(output) or (0, ()), [])
        ]
        if not fitting:
            return None
        name, taker, position = chosen.choice(fitting)
        prefix = f"n{number}/"
        added = compose.add_prefix(taker.model, prefix)
        first, second = onnx.ModelProto(), onnx.ModelProto()
        first.CopyFrom(case.model)
        second.CopyFrom(added)
        for part in (first, second):
            part.ir_version = max(case.model.ir_version, added.ir_version)
            _same_versions(part, case.model, added)
        kept = [o.name for o in first.graph.output if o.name != name]
        joined = compose.merge_models(
            first,
            second,
            [(name, second.graph.input[position].name)],
            outputs=[*kept, *(o.name for o in second.graph.output)],
        )
        values = {v.name: x for v, x in zip(case.model.graph.input, case.inputs, strict=True)}
        values |= {v.name: x for v, x in zip(second.graph.input, taker.inputs, strict=True)}
        inputs = [values[v.name] for v in joined.graph.input]
        return Case(f"{case.name} > {taker.name}", joined, inputs)


def _same_versions(part: onnx.ModelProto, *models: onnx.ModelProto) -> None:
    newest: dict[str, int] = {}
    for model in models:
        for entry in model.opset_import:
            newest[entry.domain] = max(newest.get(entry.domain, 0), entry.version)
    del part.opset_import[:]
    part.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in newest.items())


def _copy(case: Case) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    return model


def _bound(case: Case, chosen: random.Random) -> Case:
    """Some inputs become constants."""
    model, inputs = _copy(case), []
    kept = []
    for value, given in zip(case.model.graph.input, case.inputs, strict=True):
        plain = isinstance(given, np.ndarray) and given.dtype.kind in "fiub" and _key(value) is not None
        if plain and chosen.random() < 0.5:
            model.graph.initializer.append(numpy_helper.from_array(given, value.name))
        else:
            kept.append(value)
            inputs.append(given)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)  # before, constants had to be inputs too
    return Case(case.name, model, inputs)


def _nameless(case: Case, chosen: random.Random) -> Case:
    """Nodes lose their names, or have one in common."""
    model = _copy(case)
    for node in model.graph.node:
        node.name = chosen.choice(("", "same", node.op_type))
    return Case(case.name, model, case.inputs)


def _within_function(case: Case, chosen: random.Random) -> Case:
    """All nodes move into a function of the model, which is called once."""
    model = _copy(case)
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    constants = {t.name for t in graph.initializer}
    names = [v.name for v in graph.input]
    if model.functions or graph.sparse_initializer or constants - used or not graph.node:
        return case
    held = [*dict.fromkeys([*names, *constants])]
    outputs = [o.name for o in graph.output]
    made = {name for node in graph.node for name in node.output}
    if set(outputs) - made or any(a.type == onnx.AttributeProto.GRAPH for n in graph.node for a in n.attribute):
        return case
    function = onnx.helper.make_function("local", "Whole", held, outputs, list(graph.node), list(model.opset_import))
    call = onnx.helper.make_node("Whole", held, outputs, "call", domain="local")
    del graph.node[:]
    graph.node.append(call)
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid("local", 1))
    model.ir_version = max(model.ir_version, 10)
    return Case(case.name, model, case.inputs)


def _unsorted(case: Case, chosen: random.Random) -> Case:
    """Nodes stand in another order, which onnxruntime sorts itself."""
    model = _copy(case)
    nodes = list(model.graph.node)
    chosen.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return Case(case.name, model, case.inputs)


TWISTS: tuple[Callable[[Case, random.Random], Case], ...] = (_bound, _nameless, _within_function, _unsorted)
