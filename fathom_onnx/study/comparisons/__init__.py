"""What the runs of a study say beside each other: rounds, ceilings, compiled steps, trained values, suites.

Results of cells come in; values with JSON and a sentence each come out. The report draws them elsewhere.
"""

from .compiled import StepTimes, compiled_finding, step_times
from .movements import SuiteComparison, compare_suites
from .noise import RunNoise, noise_finding, run_noise
from .roofs import run_rooflines
from .trained import ValueEffect, value_effects, value_finding

__all__ = [
    "RunNoise",
    "StepTimes",
    "SuiteComparison",
    "ValueEffect",
    "compare_suites",
    "compiled_finding",
    "noise_finding",
    "run_noise",
    "run_rooflines",
    "step_times",
    "value_effects",
    "value_finding",
]
