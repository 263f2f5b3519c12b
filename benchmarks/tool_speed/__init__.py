"""What the tool's own work costs: export, verification, set-up of a profile, attribution and report.

Stages are :mod:`.stages`, each in a process of its own; :mod:`.series` names the configurations that grow, and
:mod:`.tables` writes what was measured into ``docs/performance.md``.
"""
