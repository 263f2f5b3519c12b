"""Costs of a run: what its executed nodes computed and moved, by the types and shapes of the run.

The optimized model, the attribution and the recorded shapes come in; what goes out are the costs of the executed nodes
(:mod:`.executed_costs`) with the number type that each computes in (:mod:`.compute_types`), and the original graph with
the shapes that only the run knew (:mod:`.recorded_shapes`).
"""
