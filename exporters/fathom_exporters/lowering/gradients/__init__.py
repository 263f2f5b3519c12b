"""Lowering rules, one module an op family: canonical gradient ops written in standard ONNX."""
