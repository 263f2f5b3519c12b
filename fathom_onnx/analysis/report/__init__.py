"""Pages, figures and drawings."""
