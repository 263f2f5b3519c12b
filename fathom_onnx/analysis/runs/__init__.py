"""A profiled run: its tables, its sums, its files."""
