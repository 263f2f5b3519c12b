"""Native profiles in JAX: a workload's step as JAX's users run it, by ``jax.jit``, and once more op by op.

In comes a :class:`fathom_onnx.native.NativeRequest`; out goes the time of the compiled step, and of every equation of
its jaxpr run alone, with phase, layer and canonical op. XLA compiles a step into fused kernels that belong to several
layers; whose they are is not known well enough to give their time to layers.
"""

from .profiler import JaxNative

__all__ = ["JaxNative"]
