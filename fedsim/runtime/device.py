"""Name a torch device, or say why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fedsim.errors import ScenarioError, nearest

__all__ = ["available_device", "set_num_threads", "tf32_products", "torch_device"]

_ALLOWED = ("cpu", "cuda")


def torch_device(name: str) -> torch.device:
    """The device called ``name``.

    Raises
    ------
    ScenarioError
        If there is no such device here.
    """
    kind = name.split(":", maxsplit=1)[0]
    if kind not in _ALLOWED:
        raise ScenarioError(
            f"--device {name}: allowed: {', '.join(_ALLOWED)}.{nearest(kind, _ALLOWED)}"
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise ScenarioError(
            "--device cuda: this torch sees no CUDA device; use --device cpu or install a CUDA "
            "build of torch."
        )
    return torch.device(name)


def available_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is CUDA where torch sees one, and the CPU elsewhere.

    Raises
    ------
    ScenarioError
        If there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch_device(name)


def set_num_threads(num_threads: int) -> None:
    """Pin the number of CPU threads that torch computes with."""
    torch.set_num_threads(num_threads)


@contextmanager
def tf32_products(is_allowed: bool) -> Iterator[None]:
    """Allow TF32 in products of float32 matrices on CUDA, or not, for the length of a block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = is_allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
