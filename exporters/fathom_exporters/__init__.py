"""Framework exporters: from a workload to a standard ONNX graph."""
