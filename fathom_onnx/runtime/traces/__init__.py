"""onnxruntime's trace, read."""
