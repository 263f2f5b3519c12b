"""The comparison of two runs, with a verdict on each row.

Input: two :class:`~fathom_onnx.analysis.runs.Run`. Output of :func:`compare`: a :class:`Comparison` with the facts in
which the runs differ, totals, and tables by grouping. :func:`worse_than` decides whether run B is slower than allowed,
:func:`cautions` says what makes two runs hard to compare.
"""

from .cautions import cautions
from .comparison import TOTALS, Comparison, compare, worse_than
from .significance import ALPHA
from .verdicts import Row

__all__ = ["ALPHA", "TOTALS", "Comparison", "Row", "cautions", "compare", "worse_than"]
