"""Graphs of single functions of a framework."""
