"""Open dimensions: those of a graph's inputs that have a name, an expression or nothing in the place of a size.

A model comes in, and the sizes that a user gives; what goes out is the model with a size in the place of every one of
them. :mod:`.openings` finds the open dimensions and fills them, :mod:`.expressions` reads what is written in them,
:mod:`.sizes` finds what follows from the sizes given.
"""

from .openings import GivenSize, OpenDimension, fix_dimensions, open_dimensions, reopen
from .sizes import asked_names, command_line

__all__ = [
    "GivenSize",
    "OpenDimension",
    "asked_names",
    "command_line",
    "fix_dimensions",
    "open_dimensions",
    "reopen",
]
