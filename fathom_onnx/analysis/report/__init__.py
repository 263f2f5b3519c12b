"""Presentation: the HTML report of a study, its figures and its tables.

Values of the rooms below come in (op mixes, distances, ledger entries, rooflines); self-contained HTML
(``report.render`` of a ``report.Report``) and single SVG elements go out. Nothing here computes a result. Matplotlib
is loaded by the modules that draw; import those directly.
"""

from .page import Figure, Page, Section, Table, TableCell

__all__ = ["Figure", "Page", "Section", "Table", "TableCell"]
