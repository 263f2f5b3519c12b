"""Sections that compare each further provider of a study with the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from fathom_onnx.analysis.paper.evidence import RunEvidence
from fathom_onnx.analysis.paper.provider_comparison import (
    NODE_TIMES,
    OF_THE_WORK,
    ProviderPair,
    correlation,
    framework_distance,
    gains,
    pairs,
    provider_name,
    ratios,
    times_of,
)
from fathom_onnx.analysis.report import provider_figures as draw
from fathom_onnx.analysis.report.page import Figure, Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell, time_cell
from fathom_onnx.analysis.similarity.similarity import RunLabel
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult

__all__ = ["provider_sections"]

_Row = list[TableCell | str]

_STEPS = (
    "Steps are unprofiled and end when the device is done; outputs stay on the device. Largest op: of the node time on "
    "the {base}."
)
_DISTANCES = (
    "Cosine distance of the profiles of one graph on the two providers, beside that of the two frameworks' graphs on "
    "each. Empty where node times are not those of the work, or only one framework ran."
)
_FACTS = ("execution_provider", "onnxruntime", "lowering", "threads", "cpu", "cpu_cores", "tf32")


def provider_sections(result: StudyResult) -> list[Section]:
    """A section for each provider besides the first; none where all runs are on one."""
    base, runs = result.options.ep, result.by_provider
    return [
        _section(result, base, other, runs[base], other_runs)
        for other, other_runs in runs.items()
        if other != base and base in runs and pairs(runs[base], other_runs)
    ]


def _section(
    result: StudyResult,
    base: str,
    other: str,
    base_runs: Mapping[RunLabel, RunEvidence],
    other_runs: Mapping[RunLabel, RunEvidence],
) -> Section:
    both = pairs(base_runs, other_runs)
    gained, both_modes = gains(both), ratios(both)
    classes = ", ".join(
        f"{provider_name(p)}: {', '.join(_kinds(r))}" for p, r in ((base, base_runs), (other, other_runs))
    )
    figures = [Figure("Op classes", partial(draw.class_pairs, both), f"Percent of node time by op class ({classes}).")]
    if gained:
        caption = "How much faster a step is, over how skewed its profile is, after the paper's Figure 5."
        figures.append(Figure("Gain and skew", partial(draw.gain_over_skew, gained, base, other), caption))
    if both_modes:
        caption = "Training to inference by unprofiled step; on the dotted line the two providers agree."
        figures.append(Figure("Training to inference", partial(draw.ratios_beside, both_modes, base, other), caption))
    cells = [c for c in result.all_providers if c.done and c.job.options.ep in (base, other)]
    return Section(
        f"provider-{other}",
        f"{provider_name(other)} against {provider_name(base)}",
        lead=[*_kinds_in_words(cells), *_purposes(cells), *_correlations(both)],
        figures=figures,
        tables=[
            _steps(both, base, other),
            *([_ratios(both, base, other)] if both_modes else []),
            _distances(both, base_runs, other_runs, base, other),
            Table("What ran where", ("provider", "fact", "value"), list(_facts(cells))),
        ],
    )


def _kinds(runs: Mapping[RunLabel, RunEvidence]) -> list[str]:
    return list(dict.fromkeys(times_of(run) for run in runs.values()))


def _kinds_in_words(cells: Sequence[CellResult]) -> Iterator[str]:
    """What the node times of each provider's runs are, in a sentence each."""
    for provider in dict.fromkeys(c.job.options.ep for c in cells):
        kinds = [c.node_times for c in cells if c.job.options.ep == provider]
        for kind in dict.fromkeys(kinds):
            of = "" if len(set(kinds)) == 1 else f" in {kinds.count(kind)} of {len(kinds)} runs"
            used = "" if kind in OF_THE_WORK else "; such times are compared with nothing"
            yield f"On {provider_name(provider)} the time of a node is{of} {NODE_TIMES.get(kind, kind)} ({kind}){used}."
        tf32 = {c.manifest.get("tf32") for c in cells if c.job.options.ep == provider} - {None}
        if tf32:
            state = "is allowed" if tf32 == {True} else "is off" if tf32 == {False} else "is allowed in some runs only"
            yield f"TensorFloat-32 {state} on {provider_name(provider)}."


def _purposes(cells: Sequence[CellResult]) -> Iterator[str]:
    """Which forms gradients have on each provider, where they are not the same."""
    training = [c.job.options for c in cells if c.cell.mode == "training"]
    forms = {o.ep: o.purpose for o in training}
    if len(set(forms.values())) > 1:
        listed = ", ".join(f"{purpose} on {provider_name(provider)}" for provider, purpose in forms.items())
        yield f"Training steps have gradients in the forms for each provider (lowering sets: {listed})."


def _correlations(both: Sequence[ProviderPair]) -> Iterator[str]:
    """Both rank correlations of the paper's Figure 5, for each framework that has enough graphs."""
    for framework in dict.fromkeys(pair.label.framework for pair in both):
        own = [pair for pair in both if pair.label.framework == framework]
        for words, points in (
            ("gain and share of the largest op", [(g.skew, g.gain) for g in gains(own)]),
            ("training to inference here and there", [(r.base, r.other) for r in ratios(own)]),
        ):
            rho = correlation(points)
            if rho is not None:
                yield f"Rank correlation of {words}, {framework}: {rho:.2f} over {len(points)}."


def _steps(both: Sequence[ProviderPair], base: str, other: str) -> Table:
    rows: list[_Row] = []
    for pair in both:
        skew = next(iter(gains([pair])), None)
        rows.append(
            [
                str(pair.label),
                time_cell(pair.base.summary.get("control_us") or None),
                time_cell(pair.other.summary.get("control_us") or None),
                number_cell(pair.gain, ".2f"),
                skew.op if skew else "",
                TableCell(f"{skew.skew:.1%}", skew.skew) if skew else TableCell(""),
                times_of(pair.base),
                times_of(pair.other),
            ]
        )
    names = provider_name(base), provider_name(other)
    columns = ("graph", *names, "times faster", "largest op", "its share", *(f"node times, {name}" for name in names))
    return Table("Steps by provider", columns, rows, _STEPS.format(base=names[0]))


def _ratios(both: Sequence[ProviderPair], base: str, other: str) -> Table:
    rows: list[_Row] = [
        [f"{ratio.workload} ({ratio.framework})", number_cell(ratio.base, ".2f"), number_cell(ratio.other, ".2f")]
        for ratio in ratios(both)
    ]
    return Table("Training to inference", ("graph", provider_name(base), provider_name(other)), rows)


def _distances(
    both: Sequence[ProviderPair],
    base_runs: Mapping[RunLabel, RunEvidence],
    other_runs: Mapping[RunLabel, RunEvidence],
    base: str,
    other: str,
) -> Table:
    rows: list[_Row] = []
    for pair in both:
        gap = pair.gap("op")
        apart = (framework_distance(runs, pair.label, "op") for runs in (base_runs, other_runs))
        rows.append(
            [
                str(pair.label),
                number_cell(pair.distance("class")),
                number_cell(pair.distance("op")),
                gap.name if gap else "",
                TableCell(f"{gap.share_a:.1%}", gap.share_a) if gap else TableCell(""),
                TableCell(f"{gap.share_b:.1%}", gap.share_b) if gap else TableCell(""),
                *(number_cell(distance) for distance in apart),
            ]
        )
    names = provider_name(base), provider_name(other)
    columns = (
        *("graph", "providers apart, by class", "by op", "differs most", *(f"its share, {name}" for name in names)),
        *(f"frameworks apart, {name}, by op" for name in names),
    )
    return Table("Profiles by provider", columns, rows, _DISTANCES)


def _facts(cells: Sequence[CellResult]) -> Iterator[_Row]:
    """What the runs of each provider ran on, from their manifests; a fact that differs between runs has all values."""
    for provider in dict.fromkeys(c.job.options.ep for c in cells):
        facts: dict[str, list[str]] = {}
        for cell in cells:
            if cell.job.options.ep == provider:
                for name, value in _manifest_facts(cell.manifest):
                    facts.setdefault(name, []).append(value)
        for name, values in facts.items():
            yield [provider, name, "; ".join(dict.fromkeys(values))]


def _manifest_facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _FACTS:
        if manifest.get(name) is not None:
            yield name.replace("_", " "), _text(manifest[name])
    for group in ("gpu", "provider_options"):
        for name, value in (manifest.get(group) or {}).items():
            if value is not None or name != "reason":  # the reason why a fact is not known; none where it is
                yield f"{group}: {name}".replace("_", " "), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "unknown" if value is None else str(value)
