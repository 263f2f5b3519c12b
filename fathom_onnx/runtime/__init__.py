"""Running graphs under onnxruntime: providers, weights, sessions, profiles, training.

A graph, values and :class:`~.settings.SessionSettings` come in. What goes out: outputs (:mod:`.session`,
:mod:`.evaluate`), losses (:mod:`.training`), traces and the optimized model (:mod:`.profiler`), ceilings of the machine
(:mod:`.ceilings`). The rooms below: ``traces`` reads onnxruntime's trace, ``providers`` knows where a graph can run,
``devices`` records what a GPU does. Nothing here interprets a run; that is :mod:`fathom_onnx.analysis`.
"""
