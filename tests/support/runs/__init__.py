"""Hand-made runs, summaries and rooflines, and attributions of small graphs."""
