"""The part of a study's report that sets providers against each other; there where more than one ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fathom_onnx.analysis.paper.evidence import RunEvidence
from fathom_onnx.analysis.paper.provider_comparison import (
    NODE_TIMES,
    OF_THE_WORK,
    Pair,
    correlation,
    gains,
    pairs,
    provider_name,
    ratios,
    times_of,
    twin_distance,
)
from fathom_onnx.analysis.report import provider_figures as draw
from fathom_onnx.analysis.report.page import Cell, Figure, Section, Table
from fathom_onnx.analysis.report.report import duration
from fathom_onnx.analysis.similarity.similarity import Label
from fathom_onnx.study.cells.results import CellResult
from fathom_onnx.study.result import StudyResult

__all__ = ["provider_sections"]

_Row = list[Cell | str]

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
    """A section for each provider that ran beside the first; none where there is no such run."""
    base, runs = result.options.ep, result.by_provider
    return [
        _section(result, base, other, runs[base], held)
        for other, held in runs.items()
        if other != base and base in runs and pairs(runs[base], held)
    ]


def _section(
    result: StudyResult, base: str, other: str, here: Mapping[Label, RunEvidence], there: Mapping[Label, RunEvidence]
) -> Section:
    both = pairs(here, there)
    gained, both_modes = gains(both), ratios(both)
    classes = ", ".join(f"{provider_name(p)}: {', '.join(_kinds(r))}" for p, r in ((base, here), (other, there)))
    figures = [Figure("Op classes", draw.class_pairs(both), f"Percent of node time by op class ({classes}).")]
    if gained:
        caption = "How much faster a step is, over how skewed its profile is, after the paper's Figure 5."
        figures.append(Figure("Gain and skew", draw.gain_over_skew(gained, base, other), caption))
    if both_modes:
        caption = "Training to inference by unprofiled step; on the dotted line the two providers agree."
        figures.append(Figure("Training to inference", draw.ratios_beside(both_modes, base, other), caption))
    cells = [c for c in result.all_providers if c.done and c.job.options.ep in (base, other)]
    return Section(
        f"provider-{other}",
        f"{provider_name(other)} against {provider_name(base)}",
        lead=[*_kinds_said(cells), *_purposes(cells), *_correlations(both)],
        figures=figures,
        tables=[
            _steps(both, base, other),
            *([_ratios(both, base, other)] if both_modes else []),
            _distances(both, here, there, base, other),
            Table("What ran where", ("provider", "fact", "value"), list(_facts(cells))),
        ],
    )


def _kinds(runs: Mapping[Label, RunEvidence]) -> list[str]:
    return list(dict.fromkeys(times_of(run) for run in runs.values()))


def _kinds_said(cells: Sequence[CellResult]) -> Iterator[str]:
    """What the node times of each provider's runs are, in a sentence each."""
    for provider in dict.fromkeys(c.job.options.ep for c in cells):
        mine = [c.node_times for c in cells if c.job.options.ep == provider]
        for kind in dict.fromkeys(mine):
            of = "" if len(set(mine)) == 1 else f" in {mine.count(kind)} of {len(mine)} runs"
            used = "" if kind in OF_THE_WORK else "; such times are compared with nothing"
            yield f"On {provider_name(provider)} the time of a node is{of} {NODE_TIMES.get(kind, kind)} ({kind}){used}."
        told = {c.manifest.get("tf32") for c in cells if c.job.options.ep == provider} - {None}
        if told:
            said = "is allowed" if told == {True} else "is off" if told == {False} else "is allowed in some runs only"
            yield f"TensorFloat-32 {said} on {provider_name(provider)}."


def _purposes(cells: Sequence[CellResult]) -> Iterator[str]:
    """Which forms gradients have on each provider, where they are not the same."""
    training = [c.job.options for c in cells if c.cell.mode == "training"]
    forms = {o.ep: o.purpose for o in training}
    if len(set(forms.values())) > 1:
        told = ", ".join(f"{purpose} on {provider_name(provider)}" for provider, purpose in forms.items())
        yield f"Training steps have gradients in the forms for each provider (lowering sets: {told})."


def _correlations(both: Sequence[Pair]) -> Iterator[str]:
    """Both rank correlations of the paper's Figure 5, for each framework that has enough graphs."""
    for framework in dict.fromkeys(pair.label.framework for pair in both):
        mine = [pair for pair in both if pair.label.framework == framework]
        for words, points in (
            ("gain and share of the largest op", [(g.skew, g.gain) for g in gains(mine)]),
            ("training to inference here and there", [(r.base, r.other) for r in ratios(mine)]),
        ):
            rho = correlation(points)
            if rho is not None:
                yield f"Rank correlation of {words}, {framework}: {rho:.2f} over {len(points)}."


def _number(value: float | None, form: str = ".3f") -> Cell:
    return Cell("") if value is None else Cell(format(value, form), value)


def _time(us: Any) -> Cell:
    return Cell(duration(float(us)), float(us)) if us else Cell("")


def _steps(both: Sequence[Pair], base: str, other: str) -> Table:
    rows: list[_Row] = []
    for pair in both:
        skew = next(iter(gains([pair])), None)
        rows.append(
            [
                str(pair.label),
                _time(pair.base.summary.get("control_us")),
                _time(pair.other.summary.get("control_us")),
                _number(pair.gain, ".2f"),
                skew.op if skew else "",
                Cell(f"{skew.skew:.1%}", skew.skew) if skew else Cell(""),
                times_of(pair.base),
                times_of(pair.other),
            ]
        )
    names = provider_name(base), provider_name(other)
    columns = ("graph", *names, "times faster", "largest op", "its share", *(f"node times, {name}" for name in names))
    return Table("Steps by provider", columns, rows, _STEPS.format(base=names[0]))


def _ratios(both: Sequence[Pair], base: str, other: str) -> Table:
    rows: list[_Row] = [
        [f"{found.workload} ({found.framework})", _number(found.base, ".2f"), _number(found.other, ".2f")]
        for found in ratios(both)
    ]
    return Table("Training to inference", ("graph", provider_name(base), provider_name(other)), rows)


def _distances(
    both: Sequence[Pair],
    here: Mapping[Label, RunEvidence],
    there: Mapping[Label, RunEvidence],
    base: str,
    other: str,
) -> Table:
    rows: list[_Row] = []
    for pair in both:
        gap = pair.gap("op")
        apart = (twin_distance(runs, pair.label, "op") for runs in (here, there))
        rows.append(
            [
                str(pair.label),
                _number(pair.distance("class")),
                _number(pair.distance("op")),
                gap.name if gap else "",
                Cell(f"{gap.share_a:.1%}", gap.share_a) if gap else Cell(""),
                Cell(f"{gap.share_b:.1%}", gap.share_b) if gap else Cell(""),
                *(_number(distance) for distance in apart),
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
        found: dict[str, list[str]] = {}
        for cell in cells:
            if cell.job.options.ep == provider:
                for name, value in _told(cell.manifest):
                    found.setdefault(name, []).append(value)
        for name, values in found.items():
            yield [provider, name, "; ".join(dict.fromkeys(values))]


def _told(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _FACTS:
        if manifest.get(name) is not None:
            yield name.replace("_", " "), _text(manifest[name])
    for group in ("gpu", "provider_options"):
        for name, value in (manifest.get(group) or {}).items():
            if value is not None or name != "reason":  # why something is not known, where it is so
                yield f"{group}: {name}".replace("_", " "), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "unknown" if value is None else str(value)
