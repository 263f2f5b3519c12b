"""Reports of runs: run folders come in, with the ceilings of their machine or measured here; an HTML file goes out."""

from .run_ceilings import ceilings_for, check_ceilings, check_node_times, roofline_warnings
from .run_reporting import load_run, report

__all__ = ["ceilings_for", "check_ceilings", "check_node_times", "load_run", "report", "roofline_warnings"]
