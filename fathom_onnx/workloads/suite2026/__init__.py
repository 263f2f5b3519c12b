"""The workloads of today, one module each."""
