"""Values drawn for the inputs of any graph, by how the graph uses them.

:mod:`.flow` knows users, shapes and constants of values, those in bodies included; :mod:`.follow` follows an input
through it, by the rules for each op in :mod:`.indices`, :mod:`.sizes`, :mod:`.arithmetic` and :mod:`.words`;
:mod:`.choose` turns what was found into a way to draw; :mod:`.batches` draws.
"""
