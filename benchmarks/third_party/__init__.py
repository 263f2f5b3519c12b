"""Graphs of other people's tools, each with a count of its own that owes nothing to this project."""
