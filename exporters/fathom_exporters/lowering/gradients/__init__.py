"""Lowering rules, one module an op family: canonical gradient ops written in standard ONNX.

A rule takes a :class:`~fathom_exporters.lowering.builder.Builder` and a node of a canonical op, and returns the values
that replace the node's outputs. :mod:`fathom_exporters.lowering.rules` has the tables.
"""
