"""What a graph says of a run before it: values, trip counts of bodies, lengths of sequences.

A graph with its shapes comes in. What goes out is what is known in each body (:mod:`.known`): tensors, the values of
small constants and of what is computed from them and from shapes (:mod:`.values`), and the sequences
(:mod:`.sequences`); how often a body runs (:mod:`.executions`), or why only a run knows; and which new state can take
the place of the old (:mod:`.in_place`).
"""
