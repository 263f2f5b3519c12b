"""Conversions to another ONNX graph: with initializers, at another batch size, or with its multiplications alone."""
