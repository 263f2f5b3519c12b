"""Sentences about a whole study: what is missing, what ran beside the main runs, where, and the count of the claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fathom_onnx.analysis.paper.claims import Entry, Verdict
from fathom_onnx.study.cells.results import CellResult, Failure

__all__ = ["further_runs_finding", "ledger_finding", "missing_finding", "provider_finding", "verification_finding"]

_COUNTED: dict[Verdict, str] = {
    "holds": "hold",
    "differs": "differ",
    "cannot be tested here": "cannot be tested here",
}


def missing_finding(
    undone: Sequence[str], cells: int, checks: Sequence[Mapping[str, Any]], failures: Iterable[Failure]
) -> str:
    """What is missing, each in a sentence with a space after it; empty where nothing is.

    Args:
        undone: Names of the cells that failed.
        cells: How many there are.
        checks: Verification results.
        failures: Jobs that failed.
    """
    bad = [str(check["name"]) for check in checks if not check["passed"]]
    broken = sum(failure.stage in ("verify", "compare") for failure in failures)
    sentences = [
        f"{len(undone)} of {cells} cells failed ({', '.join(undone)}). " if undone else "",
        f"{len(bad)} of {len(checks)} checks failed ({', '.join(bad)}). " if bad else "",
        f"{broken} verifications could not be done. " if broken else "",
    ]
    return "".join(sentences)


def verification_finding(checks: Sequence[Mapping[str, Any]], verified: bool) -> str:
    """How many checks passed, if there were to be any."""
    passed = sum(bool(check["passed"]) for check in checks)
    return f"{passed} of {len(checks)} checks passed." if verified else "The graphs were not verified."


def ledger_finding(entries: Sequence[Entry]) -> str:
    """How many of the paper's claims hold, differ and cannot be tested."""
    counts = Counter(entry.verdict for entry in entries)
    counted = ", ".join(f"{counts[v]} {words}" for v, words in _COUNTED.items() if counts[v])
    return f"Of {len(entries)} claims of the paper {counted}."


def further_runs_finding(groups: Iterable[tuple[Sequence[CellResult], str]]) -> str:
    """How many of the runs beside the main ones were done, a phrase for each group that has runs."""
    parts = [f"{sum(run.done for run in runs)} of {len(runs)} {words}" for runs, words in groups if runs]
    return f"Beside them {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}." if parts else ""


def provider_finding(provider: str, left_out: Mapping[str, str]) -> str:
    """That all runs are on one provider, and why the others were left out."""
    why = "; ".join(f"{name} cannot be used here: {error}" for name, error in left_out.items())
    return f"All runs are on provider {provider}{f' ({why})' if why else ''}."
