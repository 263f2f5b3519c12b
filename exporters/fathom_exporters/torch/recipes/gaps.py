"""What stands in the way of a recipe's graph: every operation without a translation or a canonical op, at once."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from pathlib import Path

from torch import fx

from fathom_exporters.torch.aten import canonical_op
from fathom_exporters.torch.recording.graph import drop_copies, drop_profiler_marks, half_precision, promote_types
from fathom_exporters.torch.recording.record import trace
from fathom_exporters.torch.recording.tagging import Tagger
from fathom_exporters.torch.refusals import refusal
from fathom_exporters.torch.translate.attempt import refusals
from fathom_onnx.errors import ExportError
from fathom_onnx.exporting import Gap
from fathom_onnx.recipes import Recipe, RecipeWorkload
from fathom_onnx.recipes.blame import is_blamed, short_path
from fathom_onnx.workloads.contract import Mode

from .capture import values_of
from .derive import derive, subject_of
from .failing import explained, reason_of
from .trial import in_mode

__all__ = ["find_gaps", "gaps_of"]

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*\n\s*(?P<text>[^\n]*)')


def find_gaps(recipe: Recipe, mode: Mode) -> tuple[Gap, ...]:
    """The gaps of a recipe's step.

    Raises:
        ExportError: The step fails for a reason that is no operation's.
    """
    try:
        workload = derive(recipe)
    except ExportError as error:
        found = reason_of(error)
        if found is None:
            raise
        operation, what, rewrite = found
        place = re.search(r"in layer '([^']*)'(?: \(([^)]*)\))?", str(error))
        layer, source = (place[1], place[2] or "") if place else ("", "")
        return (Gap(operation, "forward", layer, source, what, rewrite),)
    return gaps_of(workload, mode)


def gaps_of(workload: RecipeWorkload, mode: Mode) -> tuple[Gap, ...]:
    """The gaps of a step that can be recorded."""
    subject = subject_of(workload)
    values = values_of(workload, mode)
    with explained(subject.model, workload.recipe.specialise), in_mode(subject.model, mode):
        module, outputs = trace(subject, mode, workload.interface(mode), values, lines=True)
    drop_profiler_marks(module.graph)
    drop_copies(module.graph)
    with contextlib.suppress(ExportError):  # of complex numbers, which are gaps
        promote_types(module)
    tagger = Tagger(module.graph, subject, outputs)
    reasons = refusals(module.graph)
    lines = _lines(module.graph)
    count: Counter[Gap] = Counter()
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        lacks = [reasons[node.name]] if node.name in reasons else []
        try:
            canonical_op(node)
        except ExportError:
            lacks.append("a canonical op")
        half = half_precision(node, mode)
        if lacks or half:
            phase, layer = tagger.place(node)
            known = half or refusal(str(node.target))
            lacks, rewrite = ([known.reason], known.rewrite) if known else (lacks, "")
            count[Gap(str(node.target), phase, layer, lines.get(node, ""), " and ".join(lacks), rewrite)] += 1
    return tuple(
        Gap(g.operation, g.phase, g.layer, g.source, g.lacks, g.rewrite, number) for g, number in count.items()
    )


def _lines(graph: fx.Graph) -> dict[fx.Node, str]:
    """Operation to the line of the user's code that calls it; a gradient has that of its forward operation."""
    forward: dict[int, str] = {}
    found: dict[fx.Node, str] = {}
    for node in graph.nodes:
        frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
        own = [m for m in frames if is_blamed(Path(m["file"]))]
        if own:
            place = short_path(Path(own[-1]["file"]))
            found[node] = f"{place}:{own[-1]['line']}: {own[-1]['text'].strip()}"
            forward.setdefault(node.meta.get("seq_nr", -1), found[node])
        elif node.meta.get("seq_nr", -1) in forward:
            found[node] = forward[node.meta["seq_nr"]]
    return found
