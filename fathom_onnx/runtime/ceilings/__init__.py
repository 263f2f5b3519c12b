"""Ceilings of a machine: what they are and their files (:mod:`.ceilings`), and measuring them (:mod:`.measured`).

The settings of a session come in; a :class:`Ceilings` goes out: GFLOP/s in each number type, GB/s of memory and caches.
"""

from .ceilings import Ceilings, Sample, best_of, ceilings_of, read_ceilings

__all__ = ["Ceilings", "Sample", "best_of", "ceilings_of", "read_ceilings"]
