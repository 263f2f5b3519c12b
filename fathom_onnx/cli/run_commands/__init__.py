"""Commands that run a graph, or look at runs."""
