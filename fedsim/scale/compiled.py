"""numba, set up: compiled functions are cached on disk, in a folder that may be written.

The only module that decides how kernels are compiled.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import platformdirs

__all__ = ["borrowed", "compiled", "inlined"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


def _sources() -> str:
    """Digest of all kernels: numba looks at a function's own file, not at those it calls into."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# An installed package may lie where its user cannot write; numba reads the variable when it is
# imported.
if "numba" not in sys.modules:
    cache = Path(platformdirs.user_cache_dir("fedsim")) / f"numba-{_sources()}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))

import numba  # noqa: E402  (the environment first)
from numba.core import types  # noqa: E402
from numba.extending import intrinsic  # noqa: E402


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a function on its first call and keep the machine code for the next process."""
    return cast("Callable[_P, _R]", numba.njit(cache=True)(function))


def inlined(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """As :func:`compiled`, into its callers: an array is seven words to hand over, each time."""
    return cast("Callable[_P, _R]", numba.njit(cache=True, forceinline=True)(function))


def _borrow(typing_context: Any, value: Any) -> Any:  # noqa: ARG001 - numba's signature
    """The arrays in ``value``, a tuple of tuples as deep as you like, without reference counts.

    A kernel hands dozens of arrays down through its functions, and numba counts every reference
    atomically: more than half of an event's time. Whoever borrows keeps the owner alive, as the
    caller of a kernel does with its arguments.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _uncounted(context, builder, signature.args[0], arguments[0])

    return value(value), code


class _Borrow(Protocol):
    def __call__(self, value: _T, /) -> _T: ...


borrowed = cast("_Borrow", intrinsic(_borrow))


def _uncounted(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    members: Any
    if isinstance(kind, types.BaseTuple):
        members = enumerate(kind)
        for index, inner in members:
            member = _uncounted(context, builder, inner, builder.extract_value(value, index))
            value = builder.insert_value(value, member, index)
        return value
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value=value)
        array.meminfo = array.meminfo.type(None)
        return array._getvalue()
    return value
