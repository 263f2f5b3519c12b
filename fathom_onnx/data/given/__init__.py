"""Values that a caller gives: what a graph declares of its inputs, files of arrays, and the fit of one to the other."""
