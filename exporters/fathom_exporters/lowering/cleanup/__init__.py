"""Clean-up passes over a lowered graph: what computes nothing is taken out."""
