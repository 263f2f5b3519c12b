"""What a study is made of: cells, jobs, and what became of each."""
