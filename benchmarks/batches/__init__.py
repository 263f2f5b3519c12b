"""Many inputs in numbered batches, by processes that fork, and a record of the batches that are done.

An input is made from its kind and its number alone, so that it can be made again; a batch is a range of numbers. What
takes long to load is loaded once, in the process that forks (:mod:`.pool`). Finished batches stand in a file
(:mod:`.record`): a further run takes the next numbers, and its counts add to those of the runs before
(:mod:`.command`).
"""

from .command import arguments, work
from .pool import Judged, Kind, run
from .record import Record

__all__ = ["Judged", "Kind", "Record", "arguments", "run", "work"]
