"""What carries out the jobs of a study or a sweep."""
