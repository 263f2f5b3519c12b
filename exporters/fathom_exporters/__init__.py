"""Framework exporters: from a workload, or a user's own model, to a standard ONNX graph.

* :mod:`fathom_exporters.torch` and :mod:`fathom_exporters.tensorflow` each hold the models in that framework, record a
  whole step of one by the framework's own autodiff, and translate it. They do not know of each other.
* :mod:`fathom_exporters.lowering` is what follows for both: the translated graph, in which gradients are canonical ops,
  becomes standard ONNX in the form that suits its purpose, with the address of every node.

Below them are :mod:`fathom_exporters.framework`, which looks up a framework's models, and
:mod:`fathom_exporters.shared`, the maths that models of both frameworks write.
"""
