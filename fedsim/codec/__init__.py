"""The codecs that ship, each in a file of its own; one of one's own needs no entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fedsim.codec.cast import Cast
from fedsim.codec.identity import Identity
from fedsim.spec.codec import Codec

__all__ = ["CODECS", "Cast", "Identity"]

#: By the names that files give them.
CODECS: Final[Mapping[str, Codec]] = {
    "identity": Identity(),
    "float32": Cast("float32"),
    "float16": Cast("float16"),
    "bfloat16": Cast("bfloat16"),
}
