"""The formats of simulators that read no ONNX."""
