"""Write what a finished study found into its document: verdicts, ledger, steps, checks, figures.

    fathom-onnx study -o study
    python benchmarks/study_summary.py study      # the small preset's: docs/results/study-small.md

A study of both suites goes into ``docs/results/2016-and-2026.md``; one of 2016 in the same folder then takes seconds.
One of more than two frameworks goes into ``docs/results/three-frameworks.md``.

Every number comes from the study's ``study.json``; the figures are those of its report, as files beside the document.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from documents import table

from fathom_onnx.graph.files import write_text

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
DOCUMENTS = {"paper": "study.md", "small": "study-small.md"}
BOTH_SUITES = "2016-and-2026.md"
THREE_FRAMEWORKS = "three-frameworks.md"

_FIGURE = r"<figure>\s*<h3>([^<]*)</h3>\s*<div[^>]*>(<svg.*?</svg>)\s*</div>\s*<figcaption>(.*?)</figcaption>"

ANSWERS = {"little": "matters little", "much": "matters", "mixed": "mixed", "unknown": "cannot be told"}
"""Answers to the framework question in words."""

_ERRORS = (
    "Errors are relative to each tensor's largest value; see [verification](../guide/verification.md) for what is "
    "compared with what. The last column is the graph's distance from float64 as a multiple of the framework's own in "
    "float32."
)


def answer(asked: dict[str, Any]) -> str:
    """An answer, and that of the measured point where most resamples give another."""
    words, measured = ANSWERS[asked["outcome"]], ANSWERS[asked["measured"]]
    return words if words == measured else f"{words} (measured point: {measured})"


def pairs(levels: list[dict[str, Any]]) -> str:
    """The answer of every pair of frameworks at each level; nothing where there is one pair."""
    names = list(dict.fromkeys(" and ".join(pair["frameworks"]) for level in levels for pair in level["pairs"]))
    if not names:
        return ""
    rows = []
    for level in levels:
        answers = {" and ".join(pair["frameworks"]): answer(pair) for pair in level["pairs"]}
        rows.append([level["name"], answer(level), *(answers.get(name, "") for name in names)])
    return table(["level", "over all", *names], rows) + "\n"


def framework(levels: list[dict[str, Any]]) -> str:
    """The framework question: one row a level, mode and detail."""
    rows = [
        [
            f"{level['name']}, {a['mode']} by {a['level']}"
            + (f", {' and '.join(a['frameworks'])}" if level.get("pairs") else ""),
            answer(a),
            f"{a['within']:.3f}",
            "" if a["floor"] is None else f"{a['floor']:.4f}",
            "" if a["holds"] is None else f"{a['holds']:.0%}",
            f"{a['between']:.3f}",
            f"{a['nearest']} of {len(a['workloads'])}",
            "" if a["silhouette"] is None else f"{a['silhouette']:.2f}",
            f"{a['p']:.2g}",
            ", ".join(name for name, met in a["met"].items() if not met),
        ]
        for level in levels
        for a in level["assessments"]
    ]
    columns = [
        *("level", "the framework", "between frameworks:", "noise floor:", "holds:", "between workloads:"),
        *("own workload nearest:", "silhouette:", "p:", "criteria not met"),
    ]
    return pairs(levels) + table(columns, rows)


def claims(entries: list[dict[str, Any]]) -> str:
    """The ledger: one row a claim."""
    told = [e["ours"] or "; ".join(part for part in (e["why"], e["model"]) if part) for e in entries]
    rows = [
        [e["id"], e["verdict"], e["claim"], e["paper"], ours, e["criterion"]]
        for e, ours in zip(entries, told, strict=True)
    ]
    return table(["claim", "verdict", "what the paper says", "the paper's number", "our result", "criterion"], rows)


def steps(found: dict[str, Any]) -> str:
    """Unprofiled steps: in onnxruntime by number of threads, and in the framework itself."""
    ours: dict[tuple[str, str, str], dict[int, float]] = {}
    most = found["options"]["threads"]
    for cell in [*found["cells"], *found["fewer_threads"]]:
        if cell["summary"]:
            key = (cell["cell"]["workload"], cell["cell"]["mode"], cell["cell"]["framework"])
            ours.setdefault(key, {})[cell.get("threads", most)] = cell["summary"]["control_us"]
    native = {
        (c["cell"]["workload"], c["cell"]["mode"], c["cell"]["framework"]): c["summary"]["control_us"]
        for c in found["native"]
        if c["summary"]
    }
    counts = sorted({n for times in ours.values() for n in times})
    rows = [
        [
            f"{workload} {mode}",
            framework,
            *(f"{times[n] / 1e3:,.1f}" if n in times else "" for n in counts),
            f"{native[key] / 1e3:,.1f}" if (key := (workload, mode, framework)) in native else "",
        ]
        for (workload, mode, framework), times in ours.items()
    ]
    titles = [f"onnxruntime, {n} thread{'s' if n > 1 else ''}, ms:" for n in counts]
    return table(["step", "from", *titles, f"framework itself, {most} threads, ms:"], rows)


def noise(runs: list[dict[str, Any]]) -> str:
    """The rounds of every run beside each other."""

    def optional(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    rows = [
        [
            f"{r['cell']['workload']} {r['cell']['mode']} ({r['cell']['framework']})",
            r["runtime"],
            str(r["threads"]),
            ", ".join(f"{us / 1e3:,.1f}" for us in r["step_us"]),
            optional(r["step_spread"], ".1%"),
            optional(r["floor_by_class"], ".4f"),
            optional(r["floor_by_op"], ".4f"),
            optional(r["speed_between"], ".1%"),
            f"{r['unsteady_rounds']} ({r['repeated']})",
        ]
        for r in runs
    ]
    columns = [
        *("run", "runtime", "threads:", "steps of the rounds, ms", "spread:", "op mix, by class:", "by op:"),
        *("machine between rounds:", "unsteady rounds (repeated):"),
    ]
    return table(columns, rows)


def verification(checks: list[dict[str, Any]]) -> str:
    """What verification found: one row a comparison."""
    rows = []
    for check in checks:
        c = check["numbers"]
        training = c["mode"] == "training"
        rows.append(
            [
                f"{c['workload']} {c['mode']}",
                c["left"],
                c["right"],
                "passed" if c["passed"] else "FAILED: " + "; ".join(c["faults"]),
                f"{c['loss']:.1e}" if training else "",
                f"{c['gradient']['error']:.1e}" if training else "",
                f"{c['update']['error']:.1e}" if training else "",
                f"{c['state']['error']:.1e}",
                f"{c['single']['error']:.1f}" if c["single"]["name"] else "",
            ]
        )
    columns = [
        *("graph", "judged", "against", "result", "loss:", "gradient:", "update:"),
        *("state or output:", "float32, times its own:"),
    ]
    return table(columns, rows)


def suites(found: dict[str, Any]) -> str:
    """The workloads of 2026 among those of 2016: one row a workload of each framework, by op in training."""
    asked = [m for m in found["movements"] if (m["mode"], m["grouping"]) == ("training", "op")]
    rows = [
        [
            p["workload"],
            m["framework"],
            p["nearest"],
            f"{p['distance']:.3f}",
            f"{m['reach']:.3f} ({m['isolated']})",
            f"{p['outside_share']:.0%}",
            {True: "outside", False: "inside", None: "open"}[p["outside"]],
            "; ".join(f"{g['name']} {g['share_a']:.0%} here, {g['share_b']:.0%} there" for g in p["gaps"]),
        ]
        for m in asked
        for p in m["placements"]
    ]
    columns = [
        *("workload", "from", "nearest of 2016", "distance:", "reach of 2016:", "resamples outside:", "it lies"),
        "differs most in",
    ]
    shifts = [
        [
            s["op_class"],
            s["framework"],
            f"{s['older']:.1%}",
            f"{s['newer']:.1%}",
            f"{100 * (s['newer'] - s['older']):+.1f}",
        ]
        for s in found["op_classes"]
    ]
    work = [
        [
            w["workload"],
            w["suite"],
            w["framework"],
            *("" if w[k] is None else f"{w[k]:.3g}" for k in ("intensity", "memory")),
        ]
        for w in found["work"]
    ]
    means = [
        f"- {words}, geometric means of 2016 and 2026: "
        + "; ".join(f"{name} {old:.3g} and {new:.3g}" for name, (old, new) in found["means"][what].items())
        + f"; {'changed' if found['changed'][what] else 'not changed'} by the criterion.\n"
        for what, words in (("intensity", "FLOPs a byte"), ("memory", "tensors at the peak over parameters"))
    ]
    moved = ", ".join(found["moved_classes"]) or "none"
    return (
        f"**{found['verdict']}**\n\n"
        f"- Op classes whose mean share changed by the criterion: {moved}.\n{''.join(means)}\n"
        f"### Nearest workloads, by op in training\n\n{table(columns, rows)}\n"
        "### Mean shares of a training step by op class\n\n"
        f"{table(['class', 'from', '2016:', '2026:', 'points:'], shifts)}\n"
        f"### Work and memory of a training step\n\n"
        f"{table(['workload', 'suite', 'from', 'FLOPs a byte:', 'tensors at the peak over parameters:'], work)}"
    )


def figures(page: str, results: Path, name: str, only: tuple[str, ...] = ("Figure",)) -> str:
    """The paper's figures in the report whose titles begin so, as files, and the lines that show them."""
    folder = results / "figures" / name
    folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for title, svg, caption in re.findall(_FIGURE, page, re.DOTALL):
        if not title.startswith(only):
            continue
        file = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".svg"
        # as a file of its own a drawing has no page to take its colours from
        write_text(folder / file, svg.replace("<svg ", '<svg color="#1a1e24" style="background:#fff" ', 1))
        shown.append(f"**{title}.** {caption.strip()}\n\n![{title}](figures/{name}/{file})\n")
    return "\n".join(shown)


def facts(found: dict[str, Any]) -> str:
    """With what the study was made, in a sentence."""
    options, machine = found["options"], next(c["manifest"] for c in found["cells"] if c["manifest"])
    counts = sorted({options["threads"], *(c["threads"] for c in found["fewer_threads"])})
    return (
        f"Preset {options['preset']}, {found['rounds']} round{'s' * (found['rounds'] > 1)} of {options['steps']} steps "
        f"after {options['warmup']}, {' and '.join(map(str, counts))} threads, on {machine['cpu']} with "
        f"{machine['cpu_cores']} cores, onnxruntime {machine['onnxruntime']}, {machine['time_utc'][:10]}."
    )


def summary(folder: Path, found: dict[str, Any], results: Path) -> str:
    """The summary of a study, as Markdown; its figures go into a folder beside its document in ``results``."""
    page, document = (folder / "report.html").read_text(), document_of(found)
    own = found["options"]["preset"] if document in DOCUMENTS.values() else Path(document).stem
    if found["suites"] is not None:
        shown = figures(page, results, own, ("Figure 3", "Figure 4"))
        return (
            f"{facts(found)}\n\n{suites(found['suites'])}\n### The framework question, over both suites\n\n"
            f"{framework(found['framework'])}\n### Steps\n\n{steps(found)}\n### Figures\n\n{shown}"
        )
    checked = f"{_ERRORS}\n\n{verification(found['checks'])}" if found["checks"] else "This study left it out.\n"
    lines = "".join(f"- {line}\n" for line in [found["verdict"], *found["findings"]])
    return (
        f"{facts(found)}\n\n{lines}\n### The framework question\n\n{framework(found['framework'])}\n"
        f"### The paper's claims\n\n{claims(found['ledger'])}\n### Steps\n\n{steps(found)}\n"
        f"### Spread between rounds\n\n{noise(found['noise'])}\n"
        f"### Verification\n\n{checked}\n### Figures\n\n"
        f"{figures(page, results, own)}"
    )


def document_of(found: dict[str, Any]) -> str:
    """The file name of the document that a study goes into."""
    preset = found["options"]["preset"]
    if preset not in DOCUMENTS:
        raise SystemExit(f"studies of preset '{preset}' have no document, those of {', '.join(DOCUMENTS)} do")
    if len({cell["cell"]["framework"] for cell in found["cells"]}) > 2:
        return THREE_FRAMEWORKS
    return DOCUMENTS[preset] if found["suites"] is None else BOTH_SUITES


def main() -> None:
    """Write the summary between its marks in the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the documents")
    given = parser.parse_args()
    folder, found = given.study, json.loads((given.study / "study.json").read_text())
    document = given.results / document_of(found)
    if not document.is_file():
        raise SystemExit(f"there is no {document}: write its heading, and the marks that a study goes between")
    marks = "<!-- study -->\n", "<!-- end of study -->"
    new = f"{marks[0]}\n{summary(folder, found, given.results)}\n{marks[1]}"
    text, count = re.subn(f"{marks[0]}.*?{marks[1]}", lambda _: new, document.read_text(), flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{document} has no place for a study")
    write_text(document, text)


if __name__ == "__main__":
    main()
