"""What a graph costs by its shapes, without running it."""
