"""Sections that the reports of studies and of single runs share: steps, roofline, memory, times by op and layer.

Summaries and rooflines of runs come in, by mode and by name; sections, tables and cells go out.
"""
