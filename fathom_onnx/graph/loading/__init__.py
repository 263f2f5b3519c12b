"""From a file to a model that can be trusted: read, in order, checked, and with shapes that are inferred.

The path of a file comes in, and sizes for its open dimensions. What goes out is a model with every node after the
nodes that it takes from, and with the shape of each tensor as inference has it. :mod:`.reading` reads files and finds
those of external weights; :mod:`.order` sorts; :mod:`.checking` says what no runtime would take; :mod:`.shapes` infers,
with the help of :mod:`.contrib_shapes` for operators that only onnxruntime has and of :mod:`.sequence_shapes` for what
sequences hold.
"""
