"""Differential testing: random valid graphs, run and counted as they are and as this project reads and rewrites them.

The graphs are onnx's own backend tests, a node each with inputs (:mod:`differential.cases`), and graphs that are put
together from them (:mod:`differential.compositions`): chains in which an output feeds an input of its type and shape,
constants in the place of inputs, all of it in a function of the model, nodes without names or with the same one, in
another order.

Each is run by onnxruntime at its four levels of optimization, straight from the file and after our reading and
preparing, on the same inputs: the outputs have to be equal bit for bit at the same level (of a function that is
written out, within a millionth where onnxruntime fuses). Counts (multiply-accumulates, operations, bytes, parameters)
have to be those of the graph before it was twisted, and of the same graph with its functions written out by onnx's own
inliner (:mod:`differential.judging`). Then it goes through our other rewritings: overlays, parameters bound, another
batch, products alone (:mod:`differential.rewritings`).
"""
