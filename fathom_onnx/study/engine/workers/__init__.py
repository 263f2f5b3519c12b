"""Worker processes: one process a lane; the calls of a lane are done in order, lanes side by side.

A call that several lanes may do is done by the first of them that is free. Such lanes give way to the others: what
waits for one lane alone would else end last, with a core left over.

A framework is imported once, in its own lane. A call that needs a process of its own gets a new one, or a copy of one
that has only imported what such calls need, which takes seconds for a framework. When a process dies, only the call it
was doing fails; the lane continues in a new process. What libraries print goes to a log file. When this process dies,
even by a signal that none can catch, its workers die with it, and their temporary files lie where the next run clears.

Where memory runs short, no call begins beside others; where it runs out, the one that began last is set aside, as is
one that the system killed beside others. Calls that were set aside are done at the end, one at a time, each in a
process of its own that has the machine to itself.
"""

from .calls import CallOutcome, WorkerCall, Workers
from .pool import ProcessWorkers

__all__ = ["CallOutcome", "ProcessWorkers", "WorkerCall", "Workers"]
