"""The tables and the plot in ``docs/performance.md``, from the rows of the measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from documents import put, table

from .contestants import CONTESTANTS, Case
from .figures import Ratio, best_of_framework, ratio

__all__ = ["draw", "tables", "write_report"]

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "results" / "figures" / "step-speed.svg"
MARKS = {
    "2016": ("<!-- measured -->", "<!-- end of measured -->"),
    "2026": ("<!-- measured, 2026 -->", "<!-- end of measured, 2026 -->"),
}
"""Suite to the marks around what was measured of it."""
FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "TensorFlow"}

Row = Mapping[str, Any]


def _case(row: Row) -> Case:
    return Case(row["workload"], row["mode"], row["preset"], row["threads"])


def _by_case(rows: Iterable[Row]) -> dict[Case, list[Row]]:
    cases: dict[Case, list[Row]] = {}
    for row in rows:
        cases.setdefault(_case(row), []).append(row)
    return cases


def ratios(rows: Sequence[Row]) -> dict[str, tuple[Row, Row, Ratio]]:
    """Framework to our row of one case, the row of its own best mode, and the ratio of both."""
    found = {}
    for framework in FRAMEWORKS:
        ours = next((r for r in rows if r["ours"] and r["framework"] == framework and r.get("median_ms")), None)
        best = best_of_framework(rows, framework)
        if ours is not None and best is not None:
            found[framework] = ours, best, ratio(ours["rounds"], best["rounds"])
    return found


def _ms(row: Row | None) -> str:
    if row is None:
        return ""
    if not row.get("median_ms"):
        return "failed"
    mark = "*" if row["disturbed"] * 2 > row["turns"] else ""
    digits = 2 if row["median_ms"] < 10 else 1
    return f"{row['median_ms']:,.{digits}f}{mark}"


def _ratio_table(cases: Mapping[str, Sequence[Row]]) -> str:
    columns = ["workload"]
    for title in FRAMEWORKS.values():
        columns += [f"onnxruntime, {title}'s graph, ms:", f"{title}, ms:", "by", "ratio (95 %):", "spread:"]
    columns += ["optimizer:", "GFLOP/s:", "of the ceiling:"]
    titles = {c.name: c.title for c in CONTESTANTS}
    lines = []
    for name, rows in cases.items():
        line, found = [name], ratios(rows)
        for framework in FRAMEWORKS:
            if framework not in found:
                line += [""] * 5
                continue
            ours, best, r = found[framework]
            line += [
                _ms(ours),
                _ms(best),
                titles[best["contestant"]],
                f"**{r.value:.2f}** ({r.low:.2f} to {r.high:.2f})",
            ]
            line.append(f"{max(ours['spread'], best['spread']):.0%}")
        ours = next((r for r in rows if r["contestant"] == "onnxruntime-torch" and r.get("gflops")), {})
        share = ours.get("optimizer_share")
        line.append("" if share is None else f"{share:.0%}")
        line += [f"{ours['gflops']:.1f}", f"{ours['gflops'] / ours['ceiling_gflops']:.0%}"] if ours else ["", ""]
        lines.append(line)
    return table(columns, lines)


def _graphs_table(cases: Mapping[str, Sequence[Row]]) -> str:
    """The graphs of the frameworks beside each other, where no framework itself was measured."""
    columns = ["workload"]
    for title in FRAMEWORKS.values():
        columns += [f"{title}'s graph, ms:", "spread:", "optimizer:", "GFLOP/s:"]
    columns += ["TensorFlow's / PyTorch's (95 %):"]
    lines = []
    for name, rows in cases.items():
        line, of = [name], {r["framework"]: r for r in rows if r["ours"]}
        for framework in FRAMEWORKS:
            row = of.get(framework)
            measured = row is not None and bool(row.get("median_ms"))
            line += [_ms(row), f"{row['spread']:.0%}" if row is not None and measured else ""]
            line += [f"{row['optimizer_share']:.0%}" if row is not None and "optimizer_share" in row else ""]
            line += [f"{row['gflops']:.1f}" if row is not None and "gflops" in row else ""]
        first, second = (of.get(framework) for framework in FRAMEWORKS)
        if first and second and first.get("median_ms") and second.get("median_ms"):
            r = ratio(second["rounds"], first["rounds"])
            line.append(f"{r.value:.2f} ({r.low:.2f} to {r.high:.2f})")
        else:
            line.append("")
        lines.append(line)
    return table(columns, lines)


def _all_table(cases: Mapping[str, Sequence[Row]]) -> str:
    present = {r["contestant"] for rows in cases.values() for r in rows}
    shown = [c for c in CONTESTANTS if c.name in present]
    columns = ["workload", *(f"{FRAMEWORKS[c.framework]}: {c.title}:" for c in shown)]
    lines = []
    for name, rows in cases.items():
        of = {r["contestant"]: r for r in rows}
        lines.append([name, *(_ms(of.get(c.name)) for c in shown)])
    return table(columns, lines)


def tables(rows: Sequence[Row]) -> str:
    """The tables in Markdown: for each mode, preset and number of threads the ratios, then all medians."""
    groups: dict[tuple[str, str, int], dict[str, list[Row]]] = {}
    for case, of_case in _by_case(rows).items():
        groups.setdefault((case.mode, case.preset, case.threads), {})[case.workload] = of_case
    parts = []
    for (mode, preset, threads), cases in sorted(groups.items(), key=lambda g: (g[0][0] != "training", *g[0][1:])):
        title = f"### {mode.capitalize()}, {preset} preset, {threads} thread{'s' * (threads > 1)}"
        if all(row["ours"] for rows_of_case in cases.values() for row in rows_of_case):
            parts.append("\n".join([title, "", _graphs_table(cases)]))
            continue
        parts.append("\n".join([title, "", _ratio_table(cases), "All modes, ms:", "", _all_table(cases)]))
    return "\n".join(parts)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Bars of the ratios with their intervals; a bar left of 1 is a graph that is faster than its framework."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "step-speed"
    import matplotlib.pyplot as plt

    cases = _by_case(rows)
    groups = sorted({(c.mode, c.preset, c.threads) for c in cases}, key=lambda g: (g[0] != "training", *g[1:]))
    names = list(dict.fromkeys(c.workload for c in cases))
    figure, axes = plt.subplots(
        1, len(groups), figsize=(1.6 + 2.4 * len(groups), 1 + 0.45 * len(names)), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for ax, group in zip(axes[0], groups, strict=True):
        for number, (framework, title) in enumerate(FRAMEWORKS.items()):
            for place, name in enumerate(names):
                of_case = cases.get(Case(name, *group))
                found = ratios(of_case).get(framework) if of_case else None
                if found is None:
                    continue
                r = found[2]
                error = [[max(r.value - r.low, 0)], [max(r.high - r.value, 0)]]
                color, label = f"C{number}", title if place == 0 else None
                ax.barh(place + 0.4 * number, r.value, 0.4, color=color, label=label)
                ax.errorbar(r.value, place + 0.4 * number, xerr=error, color="black", linewidth=0.8)
        ax.axvline(1, color="black", linewidth=0.8)
        ax.set_title(f"{group[0]}, {group[1]}, {group[2]} thread{'s' * (group[2] > 1)}", fontsize=9)
        ax.set_yticks([place + 0.2 for place in range(len(names))], names)
    axes[0][0].invert_yaxis()
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("step time in onnxruntime / in the framework's fastest mode", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write_report(rows: Sequence[Row], machine: str, command: str, suite: str = "2016") -> None:
    """Put the tables between their marks in the document and draw the plot, which only the suite of 2016 has.

    Args:
        rows: All rows of a suite.
        machine: What they were measured on, a sentence.
        command: The command that measured them.
        suite: The suite.
    """
    if suite == "2016":
        draw(rows, PLOT)
    disturbed = sum(row.get("disturbed", 0) for row in rows)
    turns = sum(row.get("turns", 0) for row in rows)
    said = (
        f"{machine} Measured with `{command}`. {disturbed:,} of {turns:,} turns were disturbed by other work on the "
        "machine to the end of their repetitions; a star marks a median of mostly such turns.\n"
    )
    picture = f"![step time in onnxruntime against each framework](results/figures/{PLOT.name})\n\n"
    put(DOCUMENT, MARKS[suite], f"{said}\n{picture if suite == '2016' else ''}{tables(rows)}")
