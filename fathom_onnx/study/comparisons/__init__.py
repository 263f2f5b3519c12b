"""What the runs of a study say beside each other: rounds, ceilings, compiled steps, trained values, suites.

Results of cells come in; values with JSON and a sentence each come out. The report draws them elsewhere.
"""
