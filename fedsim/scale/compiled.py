"""numba, set up: compiled functions are cached on disk, in a folder that may be written.

The only module that decides how kernels are compiled.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import platformdirs

__all__ = ["compiled"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _sources() -> str:
    """Digest of all kernels: numba looks at a function's own file, not at those it calls into."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# An installed package may lie where its user cannot write; numba reads the variable when it is
# imported.
if "numba" not in sys.modules:
    cache = Path(platformdirs.user_cache_dir("fedsim")) / f"numba-{_sources()}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))

import numba  # noqa: E402  (the environment first)


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function on its first call and keep the machine code for the next process."""
    return cast("Callable[_P, _R]", numba.njit(cache=True)(function))
