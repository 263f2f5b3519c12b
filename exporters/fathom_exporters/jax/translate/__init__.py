"""Translation: from a recorded step to a graph of ONNX ops and canonical gradient ops, with tags.

:func:`translate` walks over the equations of a jaxpr. A mark is the op that it names (:mod:`.marked`); every other
primitive has a rule in one of the modules, which :data:`.convert.RULES` joins. Pointwise ops broadcast by themselves,
so that repetitions are written out only where something else reads them (:mod:`.values`).
"""

from .convert import gaps_of, gradient_name, translate

__all__ = ["gaps_of", "gradient_name", "translate"]
