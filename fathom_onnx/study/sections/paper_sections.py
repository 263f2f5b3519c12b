"""The parts of a study's report that speak of the paper: its claims, the framework question, its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from fathom_onnx.analysis.paper.claims import Entry, Verdict
from fathom_onnx.analysis.paper.reported import figure_3
from fathom_onnx.analysis.report import paper_figures as draw
from fathom_onnx.analysis.report.page import Cell, Figure, Section, State, Table
from fathom_onnx.analysis.report.report import duration
from fathom_onnx.analysis.similarity.clusters import centroid_linkage, linkage_matrix
from fathom_onnx.analysis.similarity.distances import CRITERIA, Assessment, Difference, FrameworkLevel
from fathom_onnx.analysis.similarity.similarity import Label
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult
from fathom_onnx.workloads import definition
from fathom_onnx.workloads.catalogue import TABLE_II

from .provider_sections import provider_sections
from .workload_pages import page_anchor

__all__ = ["framework_sections", "paper_sections"]

_STATES: dict[Verdict, State] = {"holds": "good", "differs": "bad", "cannot be tested here": "open"}
_OUTCOMES: dict[str, tuple[str, State]] = {
    "little": ("matters little", "good"),
    "much": ("matters", "bad"),
    "mixed": ("mixed", "open"),
    "unknown": ("cannot be told", "open"),
}


def paper_sections(result: StudyResult) -> list[Section]:
    """The sections that a study's runs allow: claims, framework question, figures; none where no cell ran."""
    if not result.summaries:
        return []
    return [
        _claims(result.ledger),
        _question(result.framework),
        _figures(result),
        *provider_sections(result),
    ]


def _claims(entries: Sequence[Entry]) -> Section:
    rows = [
        (
            e.claim.id,
            Cell(e.verdict, state=_STATES[e.verdict]),
            e.claim.text,
            e.ours or e.why,
            e.claim.paper,
            e.claim.criterion,
        )
        for e in entries
    ]
    columns = ("claim", "verdict", "what the paper says", "here", "the paper's number", "criterion")
    note = "Criteria were fixed before anything was measured. A claim holds when it holds in every framework that ran."
    return Section("claims", "The paper's claims", tables=[Table("Ledger", columns, rows, note)])


def _number(value: float | None, digits: int = 3) -> Cell:
    return Cell("", None) if value is None else Cell(f"{value:.{digits}f}", value)


def _interval(assessment: Assessment, name: str) -> str:
    ends = assessment.intervals.get(name)
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _assessed(level: FrameworkLevel, a: Assessment) -> list[Cell | str]:
    said, state = _OUTCOMES[a.outcome]
    return [
        f"{level.name}, {a.mode} by {a.level}",
        Cell(said, state=state),
        _number(a.within),
        _interval(a, "within"),
        _number(a.between),
        _number(a.ratio),
        Cell(f"{a.nearest} of {len(a.workloads)}", a.nearest / len(a.workloads)),
        _number(a.silhouette, 2),
        _interval(a, "silhouette"),
        _number(a.silhouette_framework, 2),
        Cell(f"{a.p:.2g}", a.p),
        ", ".join(name for name, met in a.met.items() if not met),
    ]


def _named(nodes: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in nodes)


def _different(level: FrameworkLevel, d: Difference) -> list[Cell | str]:
    return [
        f"{level.name}: {d.workload} {d.mode}",
        d.op,
        Cell(f"{100 * d.size:.1f}", d.size),
        d.here,
        Cell(f"{d.share_here:.1%}", d.share_here),
        _named(d.nodes_here),
        d.there,
        Cell(f"{d.share_there:.1%}", d.share_there),
        _named(d.nodes_there),
    ]


def _question(levels: Sequence[FrameworkLevel]) -> Section:
    asked = (
        *("asked of", "the framework", "between frameworks", "95% interval", "between workloads", "ratio"),
        *("own workload nearest", "silhouette", "95% interval", "of frameworks", "p", "not met"),
    )
    differ = ("run", "op", "points", "here", "share", "largest nodes", "there", "share", "largest nodes")
    return Section(
        "question",
        "Does the framework matter?",
        lead=[level.verdict for level in levels],
        tables=[
            Table("Statistics", asked, [_assessed(level, a) for level in levels for a in level.assessments]),
            Table("Where frameworks differ most", differ, [_different(v, d) for v in levels for d in v.differences]),
            Table("What counts as an answer", ("criterion", "met when"), [(c.name, c.text) for c in CRITERIA]),
        ],
    )


def _figures(result: StudyResult) -> Section:
    mixes = {cell.op_mix.label: cell.op_mix for cell in result.cells if cell.op_mix is not None}
    training = {label: profile for label, profile in mixes.items() if label.mode == "training"}
    shares = {label: profile.shares("op").to_dict() for label, profile in mixes.items()}
    figures = [
        Figure(
            "Figure 2",
            draw.cumulative_ops(shares),
            "Share of the time that the heaviest op types take together. The paper: 5 to 15 types cover 90%.",
        )
    ]
    stepped = {label: profile.steps for label, profile in training.items() if len(profile.steps) > 1}
    if stepped:
        caption = "Time of the heaviest op types over the steps, relative to the median of each."
        figures.insert(0, Figure("Figure 1", draw.ops_over_steps(stepped), caption))
    beside = _beside({label: shares[label] for label in training})
    if beside:
        caption = "Percent of a training step by op type: the paper's Figure 3 above ours."
        figures.append(Figure("Figure 3", draw.beside_paper(beside, list(figure_3().columns)), caption))
    for framework in dict.fromkeys(label.framework for label in training):
        rows = {label.workload: shares[label] for label in training if label.framework == framework}
        if len(rows) > 1:
            table = pd.DataFrame.from_dict(rows, orient="index").fillna(0.0)
            names = [str(name) for name in table.index]
            drawn = draw.dendrogram(linkage_matrix(names, centroid_linkage(table)), names, framework)
            caption = "Training profiles merged by the cosine distance of centroids, as in the paper's Figure 4."
            figures.append(Figure(f"Figure 4, {framework}", drawn, caption))
    times = [
        (s["workload"], s["framework"], provider, s["mode"], s["control_us"])
        for several, itself in ((result.all_providers, ""), (result.native_runs, "in the framework"))
        for s in (cell.summary for cell in several if cell.done)
        if s.get("control_us") and (provider := itself or s.get("provider"))
    ]
    if times:
        graphs = list(dict.fromkeys((workload, framework) for workload, framework, *_ in times))
        times.sort(key=lambda row: graphs.index((row[0], row[1])))  # the providers of a graph beside each other
        drawn = draw.training_against_inference(pd.DataFrame(times, columns=list(draw.MODE_COLUMNS)))
        figures.append(Figure("Figure 5", drawn, "Unprofiled training and inference steps, log scale."))
    scaled = _over_threads(result)
    if scaled is not None:
        caption = "Time of a training step by op type and threads inside an operator, as in the paper's Figure 6."
        figures.append(Figure("Figure 6", draw.ops_over_threads(scaled, _NOTES), caption))
    return Section("paper-figures", "The paper's figures", figures=figures)


_NOTES = {
    "deepq": "ApplyRMSProp is the optimizer; MatMul, the two fully connected layers",
    "seq2seq": "MatMul: LSTM gates, attention, sampled softmax; CrossEntropy, the loss",
    "memnet": "Gather and Mul: sentence encodings; MatMul and Softmax: the hops over the memory",
    "speech": "MatMul: fully connected and recurrent layers; Clip, their activation; Max, the paths of the CTC loss",
    "autoenc": "MatMul: encoder and decoder; Softplus, their activation; RandomNormal, the sampling; Sigmoid, the loss",
    "residual": "Conv2D and its gradients: the blocks; BatchNorm after each; ApplyAdam, the optimizer",
    "vgg": "Conv2D and its gradients: the sixteen convolutional layers; MatMul, the three fully connected ones",
    "alexnet": "Conv2D and its gradients: the five convolutional layers; Pow, local response normalisation",
}
"""Workload to what its ops do in it."""


def _over_threads(result: StudyResult) -> pd.DataFrame | None:
    """Training time by op and number of threads; None where there is one number only."""
    rows = [
        (s["workload"], s["framework"], cell.job.options.threads, row["name"], float(row["us"]))
        for cell in (*result.fewer_threads, *result.cells)
        if cell.done and cell.cell.mode == "training"
        for s in [cell.summary]
        for row in s["by_op"]
    ]
    table = pd.DataFrame(rows, columns=list(draw.THREAD_COLUMNS))
    return table if table["threads"].nunique() > 1 else None


def _beside(ours: Mapping[Label, Mapping[str, float]]) -> dict[str, dict[str, Mapping[str, float]]]:
    """Workload to who measured it to shares by op, for the workloads that the paper has too."""
    paper = figure_3()
    both: dict[str, dict[str, Mapping[str, float]]] = {}
    for label, shares in ours.items():
        if label.workload in paper.index:
            row = {str(op): float(share) for op, share in paper.loc[label.workload].items() if share}
            both.setdefault(label.workload, {"paper": row})[label.framework] = shares
    return both


def framework_sections(result: StudyResult) -> list[Section]:
    """The workloads, and the frameworks' own runs beside onnxruntime's where there are any."""
    natives = [cell for cell in result.native_runs if cell.done]
    return [_workloads(result), *([_in_themselves(result, natives)] if natives else [])]


def _workloads(result: StudyResult) -> Section:
    """The paper's Table II with our numbers."""
    nodes: dict[str, dict[tuple[str, str], int]] = {}
    for cell in result.cells:
        if cell.export.get("nodes"):
            key = cell.cell.framework, cell.cell.mode
            nodes.setdefault(cell.cell.workload, {})[key] = int(cell.export["nodes"])
    kinds = list(dict.fromkeys(key for several in nodes.values() for key in several))
    rows = []
    paged = {cell.cell.workload for cell in result.cells if cell.done}
    for made in {cell.cell.workload: cell.job.workload for cell in result.cells}.values():
        paper = TABLE_II.get(made.name)
        parameters = sum(p.elements for p in made.parameters)
        row: list[Cell | str] = [
            Cell(made.name, to=page_anchor(made.name) if made.name in paged else ""),
            Cell(str(paper.year), paper.year) if paper else Cell(""),
            paper.style if paper else "",
            paper.task if paper else "",
            definition(made.name).summary,
            f"{paper.dataset}; here {made.data}" if paper else made.data,
            Cell(str(paper.layers), paper.layers) if paper else Cell(""),
            Cell(f"{parameters:,}", parameters),
            Cell(str(made.config.batch), made.config.batch),
        ]
        counts = [nodes.get(made.name, {}).get(kind) for kind in kinds]
        rows.append([*row, *(Cell("") if n is None else Cell(f"{n:,}", n) for n in counts)])
    columns = ("workload", "year", "style", "task", "model", "data", "layers (paper)", "parameters", "batch")
    titles = [f"nodes, {framework} {mode}" for framework, mode in kinds]
    note = "After the paper's Table II, with the sizes of this study's preset. Each name leads to the workload's page."
    table = Table("Workloads and graphs", (*columns, *titles), rows, note)
    return Section("workloads", "The workloads", lead=[_TABLE_I], tables=[table])


_TABLE_I = (
    "The paper's Table I is its survey of what the literature on computer architecture had covered by then; no run can "
    "reproduce it."
)


def _in_themselves(result: StudyResult, natives: Sequence[CellResult]) -> Section:
    ours = {cell.cell: cell.summary for cell in result.cells if cell.done}
    rows: list[list[Cell | str]] = []
    for cell in natives:
        s, there = cell.summary, ours.get(cell.cell)
        other = float(there["control_us"]) if there and there.get("control_us") else None
        top = ", ".join(f"{row['name']} {row['share']:.0%}" for row in s["by_op"][:3])
        rows.append(
            [
                str(cell.cell),
                Cell(duration(s["control_us"]), s["control_us"]),
                Cell("", None) if other is None else Cell(duration(other), other),
                _number(None if other is None else other / s["control_us"], 2),
                Cell(duration(s["step_us"]), s["step_us"]),
                _number(s.get("explained_share"), 2),
                top,
            ]
        )
    columns = ("run", "in the framework", "in onnxruntime", "ratio", "with its profiler", "explained", "heaviest ops")
    note = (
        "Unprofiled steps, then the framework's own step under its own profiler. Explained: time of all operations "
        "over the unprofiled step with the same settings."
    )
    return Section("native", "In the frameworks themselves", tables=[Table("Steps", columns, rows, note)])
