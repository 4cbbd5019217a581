"""Number formats by name: what a value costs in bytes, on disk, in memory and on a link."""

from __future__ import annotations

from typing import Final, Literal

__all__ = [
    "DTYPE_BYTES",
    "SAFETENSORS_CODE",
    "Dtype",
    "FloatDtype",
    "dtype_bytes",
    "index_dtype",
    "is_float",
    "precision_name",
]

FloatDtype = Literal["float32", "float16", "bfloat16"]
Dtype = Literal["float64", "float32", "float16", "bfloat16", "int64", "int32", "uint16", "uint8"]

DTYPE_BYTES: Final[dict[str, int]] = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "uint16": 2,
    "uint8": 1,
}

#: The format's own names, which stand in every message header and therefore count.
SAFETENSORS_CODE: Final[dict[str, str]] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "uint16": "U16",
    "uint8": "U8",
}


def dtype_bytes(dtype: str) -> int:
    """Bytes of one value of ``dtype`` [B]."""
    return DTYPE_BYTES[dtype]


def is_float(dtype: str) -> bool:
    """Whether values of ``dtype`` are real numbers, and no indices, labels or packed bits."""
    return dtype in ("float64", "float32", "float16", "bfloat16")


def index_dtype(num_values: int) -> Dtype:
    """Smallest integer format that holds ``0 .. num_values - 1``.

    Labels, last-token indices and token ids are sent in it: one byte suffices for the 77 classes
    of Banking77, two for GPT-2's 50,257 tokens.

    Parameters
    ----------
    num_values : int
        How many different values must be told apart.
    """
    if num_values <= 1 << 8:
        return "uint8"
    if num_values <= 1 << 16:
        return "uint16"
    return "int32"


def precision_name(weights_dtype: str, compute_dtype: str, *, is_tf32: bool = False) -> str:
    """Name of the arithmetic that a time model's coefficients belong to.

    Parameters
    ----------
    weights_dtype, compute_dtype : str
        Formats of the frozen weights and of activations; where they differ, every product converts
        its weights first (autocast), which takes time of its own.
    is_tf32 : bool
        32-bit products on tensor cores, with 10-bit mantissas.

    Examples
    --------
    >>> precision_name("float32", "bfloat16")
    'bfloat16-autocast'
    """
    if is_tf32 and compute_dtype == "float32":
        return "tf32"
    return compute_dtype if weights_dtype == compute_dtype else f"{compute_dtype}-autocast"
