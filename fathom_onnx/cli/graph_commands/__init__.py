"""Commands about graphs and workloads."""
