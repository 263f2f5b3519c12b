"""Explaining runs: attribution, op classes, similarity, figures, reports. Nothing here runs a session."""
