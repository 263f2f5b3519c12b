"""The sections and pages of a study's report."""
