"""Conversions whose result is an ONNX graph again."""
