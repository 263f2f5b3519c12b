"""Device time: recording a CUDA device with CUPTI, and assigning its work to executed nodes.

A recorder (:mod:`.cupti`) gives records (:mod:`.records`); with a trace they become the times of nodes on the device
(:mod:`.times`, a step at a time in :mod:`.step`).
"""
