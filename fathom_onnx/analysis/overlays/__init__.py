"""The times of a run on the nodes of its graph, for viewers of graphs."""
