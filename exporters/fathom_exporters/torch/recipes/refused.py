"""What to write in place of an operation that ONNX cannot express."""

from __future__ import annotations

__all__ = ["rewrite_of"]

_COMPLEX = "write it in real numbers (a rotary embedding by sine and cosine)"
_REWRITES = {
    "lgamma": "ONNX has no gamma function: leave the constant term of the likelihood out",
    "digamma": "ONNX has no gamma function",
    "polar": _COMPLEX,
    "view_as_complex": _COMPLEX,
    "view_as_real": _COMPLEX,
    "complex": _COMPLEX,
    "_fft": "ONNX has no differentiable Fourier transform: multiply by constant matrices of cosines and sines",
    "nonzero": "use a mask of fixed shape (torch.where)",
    "_linalg": "ONNX has no matrix factorisation: compute it outside of the graph",
    "linalg_": "ONNX has no matrix factorisation: compute it outside of the graph",
}


def rewrite_of(operation: str) -> str:
    """What to write instead; empty where nothing is known."""
    name = operation.removeprefix("aten.").removeprefix("prims.")
    return next((rewrite for start, rewrite in _REWRITES.items() if name.startswith(start)), "")
