"""Single random faults in graphs, and whether verification finds them."""

from .mutations import KINDS, mutated
from .trials import SHOWS, Trial, Trials

__all__ = ["KINDS", "SHOWS", "Trial", "Trials", "mutated"]
