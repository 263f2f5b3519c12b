"""The speed of the machine: a loop of fixed arithmetic that shows whether it changed while a run was measured.

Steps under way come in, through their report of progress; readings, their spread and whether it is within the
tolerance go out, into the manifest of the run.
"""
