"""Lowering rules in the forms that onnxruntime's CPU kernels run fastest, one module an op family.

Each is exact up to rounding, with its derivation, what it gains, and where it is taken, in the module's docstring. Some
write the forward op as well, since it shares work with its gradient.
"""
