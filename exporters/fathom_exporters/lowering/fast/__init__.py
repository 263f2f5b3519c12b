"""Passes that write what is not a gradient op in a form that onnxruntime's CPU kernels run faster.

In comes a model on its way to a graph file for onnxruntime; it is changed in place, exact up to rounding. Each module
has one form with its derivation and what it gains.
"""
