"""From executed nodes back to the nodes of the original graph."""
