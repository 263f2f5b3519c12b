"""What no ONNX operator of opset 18 expresses, or no static shape holds: operation to reason and rewrite."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BFLOAT16", "FLOAT16", "REFUSALS", "Refusal", "refusal"]


@dataclass(frozen=True)
class Refusal:
    """Why an operation is refused.

    Attributes:
        reason: What stands against it, as the end of a sentence that starts with the operation.
        rewrite: What to do instead; empty where nothing is known.
    """

    reason: str
    rewrite: str = ""


BFLOAT16 = Refusal(
    "works in bfloat16, which ONNX's operators do not take at opset 18",
    "leave torch.autocast and .bfloat16() out: the whole step in float32",
)
"""Why arithmetic in bfloat16 is refused, whatever the operation."""

FLOAT16 = Refusal(
    "computes a training step in float16, whose rounding is larger than what a wrong step would differ by",
    "leave torch.autocast and .half() out: the whole step in float32",
)
"""Why arithmetic in float16 is refused in training, whatever the operation."""

_NO_OPERATOR = "has no ONNX operator"
_BY_VALUES = "gives a shape that depends on values"
_COMPLEX = "is of complex numbers, which ONNX does not have"
_FACTORS = "is a matrix factorisation, for which ONNX has no operator"
_DRAWN = "cannot be drawn by ONNX's random operators"

_GROUPS: tuple[tuple[str, Refusal], ...] = (
    ("lgamma digamma polygamma mvlgamma", Refusal(_NO_OPERATOR, "compute it from constants before the step")),
    (
        "i0 special_i0e special_i1 special_i1e special_bessel_j0 special_bessel_j1 special_zeta igamma igammac "
        "special_ndtri ndtri bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 zeta nextafter "
        "frexp gcd lcm",
        Refusal(_NO_OPERATOR),
    ),
    (
        "polar complex view_as_complex",
        Refusal(_COMPLEX, "write a rotation by cosine and sine, as rotary embeddings by x1 cos - x2 sin"),
    ),
    ("view_as_real real imag angle conj conj_physical _conj", Refusal(_COMPLEX, "keep real and imaginary parts apart")),
    (
        "_fft_c2c _fft_r2c _fft_c2r stft istft",
        Refusal(_COMPLEX, "a transform of a fixed length is two products with matrices of cosines and sines"),
    ),
    (
        "nonzero argwhere",
        Refusal(_BY_VALUES, "torch.where or a product with a mask; experts: _experts_implementation='batched_mm'"),
    ),
    ("nonzero_static", Refusal("gives places that depend on values", "use torch.topk of the mask")),
    ("masked_select", Refusal(_BY_VALUES, "use torch.where, or a product with the mask and a division by its sum")),
    ("_unique _unique2 unique_dim unique_consecutive", Refusal(_BY_VALUES, "compute it before the step")),
    ("bincount histc histogram", Refusal(_BY_VALUES, "use one_hot(x, classes).sum(0)")),
    (
        "repeat_interleave",
        Refusal(f"{_BY_VALUES} where the repeats are a tensor", "repeat by a number, or gather rows"),
    ),
    (
        "_local_scalar_dense item equal",
        Refusal("reads a value in Python", "keep it a tensor, and choose by torch.where"),
    ),
    (
        "_embedding_bag _embedding_bag_forward_only _embedding_bag_backward _embedding_bag_dense_backward",
        Refusal("has bags of sizes that depend on values", "call torch.nn.functional.embedding_bag"),
    ),
    ("embedding_renorm", Refusal("(max_norm) changes the table while it is read", "normalise the rows that are read")),
    ("_ctc_loss _ctc_loss_backward", Refusal(_BY_VALUES, "call torch.nn.functional.ctc_loss")),
    (
        "_linalg_det _linalg_slogdet linalg_inv_ex inverse linalg_cholesky_ex cholesky cholesky_inverse cholesky_solve "
        "linalg_lu linalg_lu_factor_ex linalg_lu_solve _linalg_solve_ex linalg_solve_triangular triangular_solve "
        "_linalg_svd linalg_svd _linalg_eigh linalg_eig linalg_eigvals linalg_qr linalg_lstsq geqrf ormqr "
        "linalg_householder_product linalg_ldl_factor_ex linalg_ldl_solve",
        Refusal(_FACTORS, "compute it before the step, or iterate by products (Newton-Schulz for an inverse)"),
    ),
    ("matrix_exp linalg_matrix_exp", Refusal(_NO_OPERATOR, "write a fixed number of terms of its series")),
    (
        "binomial poisson cauchy geometric log_normal random _standard_gamma _sample_dirichlet rrelu_with_noise "
        "rrelu_with_noise_functional",
        Refusal(_DRAWN, "draw from a uniform or a normal distribution, or give the draw in the batch"),
    ),
    ("quantize_per_tensor quantize_per_channel dequantize _grouped_mm _scaled_mm", Refusal(_NO_OPERATOR)),
    ("_flash_attention_forward _efficient_attention_forward", Refusal(_NO_OPERATOR, "use the math path of attention")),
    (
        "_sparse_coo_tensor_unsafe sparse_coo_tensor to_sparse _sparse_mm",
        Refusal("makes sparse tensors", "use dense ones"),
    ),
    ("cond while_loop scan", Refusal("is control flow by values", "compute both sides and choose by torch.where")),
)

REFUSALS: dict[str, Refusal] = {name: refusal for names, refusal in _GROUPS for name in names.split()}
"""aten operation (without overload) to why it is refused."""


def refusal(operation: object) -> Refusal | None:
    """Why a recorded operation is refused, or None where nothing is known of it.

    Args:
        operation: The target of a recorded node, such as ``aten.nonzero.default``.
    """
    name = str(operation).removeprefix("aten.").removeprefix("prims.").partition(".")[0]
    return REFUSALS.get(name) or REFUSALS.get(name.removesuffix("_"))
