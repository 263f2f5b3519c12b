"""Fuzzing: damaged and twisted files to every reader, which must read them or refuse them in one line.

    python benchmarks/fuzz --seconds 600              # or: make fuzz SECONDS=600

Seeds are the operator tests of the onnx package, a tiny training graph, files that no honest exporter writes, a
trace, a checkpoint and tables of a run. Inputs are made of them in two ways: changes of the structure (:mod:`.twists`:
fields of the model set, swapped, repeated or taken away) and changes of bytes (:mod:`.bytes`).

A reader (:mod:`.readers`) may give a result or raise a :class:`~fathom_onnx.errors.FathomError`. Anything else is a
*finding*: another exception, more than 10 s, more than 1 GB, a process that dies. Findings are told apart by where they
were raised, and their inputs are kept in ``build/fuzz``.
"""
