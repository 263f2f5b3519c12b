"""The paper's figures, drawn from a study's runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from fathom_onnx.analysis.paper.reported import figure_3
from fathom_onnx.analysis.report import paper_figures as draw
from fathom_onnx.analysis.report.page import Figure, Section
from fathom_onnx.analysis.similarity.clusters import centroid_linkage, linkage_matrix
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.study.result import StudyResult

__all__ = ["DataFigure", "data_figures", "figures_section"]


@dataclass(frozen=True)
class DataFigure:
    """A figure with what it is drawn from.

    Attributes:
        name: What its file is called.
        title: Its heading.
        caption: What it shows.
        draw: Draws it, as SVG for the report.
        data: What it shows, as a tidy table.
        draw_bare: Draws it without remarks, which are a caption's in a paper; as in the report for None.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], str]
    data: pd.DataFrame
    draw_bare: Callable[[], str] | None = None


def figures_section(result: StudyResult) -> Section:
    """Those of the paper's figures that the study's runs allow."""
    figures = [Figure(f.title, f.draw, f.caption) for f in data_figures(result)]
    return Section("paper-figures", "The paper's figures", figures=figures)


def data_figures(result: StudyResult) -> list[DataFigure]:
    """The same figures with their data, in the paper's order."""
    mixes = {cell.op_mix.label: cell.op_mix for cell in result.cells if cell.op_mix is not None}
    training = {label: mix for label, mix in mixes.items() if label.mode == "training"}
    shares = {label: mix.shares("op").to_dict() for label, mix in mixes.items()}
    share_rows = [(*label, op, share) for label, by_op in shares.items() for op, share in by_op.items()]
    share_data = pd.DataFrame(share_rows, columns=[*RunLabel._fields, "op", "share"])
    figures = []
    stepped = {label: mix.steps for label, mix in training.items() if len(mix.steps) > 1}
    if stepped:
        caption = "Time of the heaviest op types over the steps, relative to the median of each."
        figures.append(
            DataFigure("figure-1", "Figure 1", caption, partial(draw.ops_over_steps, stepped), _step_data(stepped))
        )
    caption = "Share of the time that the heaviest op types take together. The paper: 5 to 15 types cover 90%."
    figures.append(DataFigure("figure-2", "Figure 2", caption, partial(draw.cumulative_ops, shares), share_data))
    compared = _beside_paper({label: shares[label] for label in training})
    if compared:
        caption = "Percent of a training step by op type: the paper's Figure 3 above ours."
        rows = [
            (w, who, op, s) for w, several in compared.items() for who, ops in several.items() for op, s in ops.items()
        ]
        table = pd.DataFrame(rows, columns=["workload", "source", "op", "share"])
        drawn = partial(draw.beside_paper, compared, list(figure_3().columns))
        figures.append(DataFigure("figure-3", "Figure 3", caption, drawn, table))
    for framework in dict.fromkeys(label.framework for label in training):
        rows_of = {label.workload: shares[label] for label in training if label.framework == framework}
        if len(rows_of) > 1:
            table = pd.DataFrame.from_dict(rows_of, orient="index").fillna(0.0)
            names = [str(name) for name in table.index]
            merges = linkage_matrix(names, centroid_linkage(table))
            caption = "Training profiles merged by the cosine distance of centroids, as in the paper's Figure 4."
            drawn = partial(draw.dendrogram, merges, names, framework)
            merged = pd.DataFrame(merges, columns=["a", "b", "distance", "runs"]).assign(leaves=" ".join(names))
            figures.append(DataFigure(f"figure-4-{framework}", f"Figure 4, {framework}", caption, drawn, merged))
    times = _step_times(result)
    if len(times):
        caption = "Unprofiled training and inference steps, log scale."
        drawn = partial(draw.training_against_inference, times)
        figures.append(DataFigure("figure-5", "Figure 5", caption, drawn, times))
    scaled = _over_threads(result)
    if scaled is not None:
        caption = "Time of a training step by op type and threads inside an operator, as in the paper's Figure 6."
        drawn = partial(draw.ops_over_threads, scaled, _NOTES)
        bare = partial(draw.ops_over_threads, scaled)
        figures.append(DataFigure("figure-6", "Figure 6", caption, drawn, scaled, bare))
    return figures


def _step_data(stepped: Mapping[RunLabel, pd.DataFrame]) -> pd.DataFrame:
    """Microseconds of every op in every step."""
    parts = []
    for label, table in stepped.items():
        long = table.reset_index(drop=True).rename_axis("step").reset_index()
        long = long.melt(id_vars="step", var_name="op", value_name="us")
        parts.append(long.assign(**label._asdict())[[*RunLabel._fields, "step", "op", "us"]])
    return pd.concat(parts, ignore_index=True)


def _step_times(result: StudyResult) -> pd.DataFrame:
    """Unprofiled steps by graph, provider and mode, the providers of a graph beside each other."""
    times = [
        (s["workload"], s["framework"], provider, s["mode"], s["control_us"])
        for several, place in ((result.all_providers, ""), (result.native_runs, "in the framework"))
        for s in (cell.summary for cell in several if cell.done)
        if s.get("control_us") and (provider := place or s.get("provider"))
    ]
    graphs = list(dict.fromkeys((workload, framework) for workload, framework, *_ in times))
    times.sort(key=lambda row: graphs.index((row[0], row[1])))
    return pd.DataFrame(times, columns=list(draw.MODE_COLUMNS))


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
"""Workload to the parts of its model that its heaviest ops compute."""


def _over_threads(result: StudyResult) -> pd.DataFrame | None:
    """Training time by op and number of threads; None for a single number of threads."""
    rows = [
        (s["workload"], s["framework"], cell.job.options.threads, row["name"], float(row["us"]))
        for cell in (*result.fewer_threads, *result.cells)
        if cell.done and cell.cell.mode == "training"
        for s in [cell.summary]
        for row in s["by_op"]
    ]
    table = pd.DataFrame(rows, columns=list(draw.THREAD_COLUMNS))
    return table if table["threads"].nunique() > 1 else None


def _beside_paper(measured: Mapping[RunLabel, Mapping[str, float]]) -> dict[str, dict[str, Mapping[str, float]]]:
    """Workload to source (the paper, or a framework) to shares by op, for the workloads that the paper has too."""
    paper = figure_3()
    both: dict[str, dict[str, Mapping[str, float]]] = {}
    for label, shares in measured.items():
        if label.workload in paper.index:
            row = {str(op): float(share) for op, share in paper.loc[label.workload].items() if share}
            both.setdefault(label.workload, {"paper": row})[label.framework] = shares
    return both
