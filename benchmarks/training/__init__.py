"""Training runs of the workloads in onnxruntime, measured."""
