"""The paper's numbers and claims, and the verdict of our runs on each.

Runs come in as evidence (:class:`Evidence`), and the levels of the framework question. What goes out: the ledger
(:func:`ledger`, an :class:`Entry` a claim), the comparison of two providers, and one-line findings.
"""

from .claims import CLAIMS, Claim, Entry, Verdict, ledger
from .evidence import Evidence, RunEvidence
from .reported import figure_3

__all__ = ["CLAIMS", "Claim", "Entry", "Evidence", "RunEvidence", "Verdict", "figure_3", "ledger"]
