"""Step times of our graphs in onnxruntime against the frameworks that they came from: ``python benchmarks/step_speed``.

* :mod:`.contestants`: who runs a step, and which of them are compared;
* :mod:`.torch_steps`, :mod:`.tensorflow_steps`, :mod:`.onnxruntime_steps`: a step of each kind, ready to be timed;
* :mod:`.worker`: a process that holds one step and runs it when it is told to;
* :mod:`.machine`: the control loop that shows when the machine changed speed;
* :mod:`.rounds`: the rounds of a case, in which the contestants take turns;
* :mod:`.figures`: medians, spreads, ratios with intervals;
* :mod:`.report`: the tables and the plot in ``docs/performance.md``;
* :mod:`.forms`: a script of its own, the forms of convolutions against each other;
* :mod:`.clean_up`: another, the nodes of the training graphs before and after each kind of clean-up.
"""
