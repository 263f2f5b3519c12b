"""How alike runs are: op mixes, distances, clusters."""
