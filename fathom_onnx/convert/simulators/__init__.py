"""The formats of simulators that do not read ONNX: topologies, workloads, problems, networks, execution traces."""
