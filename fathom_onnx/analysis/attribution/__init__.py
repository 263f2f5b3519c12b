"""Attribution: the original nodes that each executed node stands for.

The original graph and the model that onnxruntime optimized it to come in, and measured values where names leave a
question. An :class:`Attribution` goes out: for every executed node its original nodes with weights, or the reason why
there are none. Read :mod:`.attribution` first; it uses regions (:mod:`.regions`), which use anchors (:mod:`.anchors`)
and origins (:mod:`.origins`).
"""

from .attribution import Attribution, Matching, NodeAttribution, NodeState, Share, attribute

__all__ = ["Attribution", "Matching", "NodeAttribution", "NodeState", "Share", "attribute"]
