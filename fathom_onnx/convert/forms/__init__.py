"""The matrix products of each op, by family: from a node with its shapes to the products that are its arithmetic."""
