"""Execution providers: their names and requirements, the facts of a GPU, and the placement of nodes on them.

A provider's short name comes in. What goes out: the check that it is installed (:mod:`.names`), what its libraries lack
(:mod:`.cuda_libraries`), the device's facts (:mod:`.gpu`), the placement of a session's nodes (:mod:`.placement`).
"""
