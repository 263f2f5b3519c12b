"""Where a graph runs: execution providers and what they need."""
