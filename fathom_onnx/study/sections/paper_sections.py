"""Sections on the paper: its claims with verdicts, the framework question, its figures, comparisons of providers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fathom_onnx.analysis.paper.claims import Entry, Verdict
from fathom_onnx.analysis.report.page import CellState, Section, Table, TableCell
from fathom_onnx.analysis.report.sections.table_cells import number_cell
from fathom_onnx.analysis.similarity.criteria import CRITERIA, RULES
from fathom_onnx.analysis.similarity.distances import Assessment
from fathom_onnx.analysis.similarity.levels import FrameworkLevel
from fathom_onnx.analysis.similarity.share_differences import ShareDifference
from fathom_onnx.study.result import StudyResult

from .difference_sections import difference_sections
from .paper_figures import figures_section
from .provider_sections import provider_sections

__all__ = ["CLAIM_STATES", "OUTCOMES", "claim_anchor", "measured_otherwise", "paper_sections"]

CLAIM_STATES: dict[Verdict, CellState] = {"holds": "good", "differs": "bad", "cannot be tested here": "open"}
"""How the verdict on a claim is marked."""

OUTCOMES: dict[str, tuple[str, CellState]] = {
    "little": ("matters little", "good"),
    "much": ("matters", "bad"),
    "mixed": ("mixed", "open"),
    "unknown": ("cannot be told", "open"),
}
"""Answer to the framework question to its words and how they are marked."""


def paper_sections(result: StudyResult) -> list[Section]:
    """Claims, framework question, figures and comparisons of providers; nothing where no cell ran."""
    if not result.summaries:
        return []
    return [
        _claims_section(result.ledger),
        _question_section(result.framework),
        figures_section(result),
        *difference_sections(result),
        *provider_sections(result),
    ]


def measured_otherwise(asked: Assessment | FrameworkLevel) -> list[str]:
    """What the measured point says, where most resamples say something else."""
    return [] if asked.measured == asked.outcome else [f"measured point: {OUTCOMES[asked.measured][0]}"]


def claim_anchor(number: int) -> str:
    """The id of an entry's row in the ledger, by its place there."""
    return f"claim-{number}"


def _claims_section(entries: Sequence[Entry]) -> Section:
    rows = [
        (
            TableCell(e.claim.id, anchor=claim_anchor(number)),
            TableCell(e.verdict, state=CLAIM_STATES[e.verdict]),
            e.claim.text,
            e.told,
            e.claim.paper,
            e.claim.criterion,
        )
        for number, e in enumerate(entries)
    ]
    columns = ("claim", "verdict", "what the paper says", "here", "the paper's number", "criterion")
    note = "Criteria were fixed before anything was measured. A claim holds when it holds in every framework that ran."
    return Section("claims", "The paper's claims", tables=[Table("Ledger", columns, rows, note)])


def _interval(assessment: Assessment, name: str) -> str:
    ends = assessment.intervals.get(name)
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _asked(level: FrameworkLevel, a: Assessment) -> str:
    return f"{level.name}, {level.asked(a)}"


def _distance_row(level: FrameworkLevel, a: Assessment) -> list[TableCell | str]:
    return [
        _asked(level, a),
        _answer(a, measured_otherwise(a)),
        number_cell(a.holds, ".0%"),
        number_cell(a.within),
        _interval(a, "within"),
        number_cell(a.floor, ".4f"),
        TableCell("" if a.floor is None else f"{a.above_floor} of {len(a.workloads)}", a.above_floor),
        number_cell(a.between),
        number_cell(a.ratio),
    ]


def _test_row(level: FrameworkLevel, a: Assessment) -> list[TableCell | str]:
    return [
        _asked(level, a),
        TableCell(f"{a.nearest} of {len(a.workloads)}", a.nearest / len(a.workloads)),
        number_cell(a.silhouette, ".2f"),
        _interval(a, "silhouette"),
        number_cell(a.silhouette_framework, ".2f"),
        TableCell(f"{a.p:.2g}", a.p),
        ", ".join(name for name, met in a.met.items() if not met),
    ]


def _named_shares(nodes: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in nodes)


def _difference_row(level: FrameworkLevel, d: ShareDifference) -> list[TableCell | str]:
    return [
        f"{level.name}: {d.workload} {d.mode}",
        d.op,
        TableCell(f"{100 * d.size:.1f}", d.size),
        TableCell(f"{d.first} {d.first_share:.1%}", d.first_share),
        _named_shares(d.first_nodes),
        TableCell(f"{d.second} {d.second_share:.1%}", d.second_share),
        _named_shares(d.second_nodes),
    ]


def _pairs(levels: Sequence[FrameworkLevel]) -> list[Table]:
    """The answer of every two frameworks at each level; nothing where there are only two."""
    pairs = list(dict.fromkeys(pair.between for level in levels for pair in level.pairs))
    if not pairs:
        return []
    rows: list[list[TableCell | str]] = []
    for level in levels:
        answers = {pair.between: _answer_and_share(pair) for pair in level.pairs}
        rows.append([level.name, _answer_and_share(level), *(answers.get(pair, TableCell("")) for pair in pairs)])
    columns = ("asked of", "over all", *(" and ".join(pair) for pair in pairs))
    note = "Over all it matters little if it does in every pair, and matters if it does in one; draw by draw."
    return [Table("By pair of frameworks", columns, rows, note)]


def _answer(asked: Assessment | FrameworkLevel, notes: Sequence[str]) -> TableCell:
    words, state = OUTCOMES[asked.outcome]
    return TableCell(f"{words} ({'; '.join(notes)})" if notes else words, state=state)


def _answer_and_share(level: FrameworkLevel) -> TableCell:
    told = level.holds is not None and level.outcome != "unknown"
    return _answer(level, [*([f"holds in {level.holds:.0%}"] if told else []), *measured_otherwise(level)])


def _question_section(levels: Sequence[FrameworkLevel]) -> Section:
    distances = (
        *("asked of", "the framework", "holds", "between frameworks", "95% interval", "noise floor", "above it"),
        *("between workloads", "ratio"),
    )
    tests = ("asked of", "own workload nearest", "silhouette", "95% interval", "of frameworks", "p", "not met")
    asked = [(level, a) for level in levels for a in level.assessments]
    differences = ("run", "op", "points", "share here", "largest nodes", "share there", "largest nodes")
    criteria = [*((c.name, c.text) for c in CRITERIA), *RULES]
    largest = [_difference_row(level, d) for level in levels for d in level.differences]
    return Section(
        "question",
        "Does the framework matter?",
        lead=[line.verdict for level in levels for line in (level, *level.pairs)],
        tables=[
            *_pairs(levels),
            Table("Distances", distances, [_distance_row(level, a) for level, a in asked]),
            Table("Tests", tests, [_test_row(level, a) for level, a in asked]),
            Table("Where frameworks differ most", differences, largest),
            Table("What counts as an answer", ("criterion", "met when"), criteria),
        ],
    )
