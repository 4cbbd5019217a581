"""What happens: the step language, what steps cost, and one file per framework."""

from __future__ import annotations

from typing import Final

from fedsim.protocol.fedllm import FEDLLM, fedllm
from fedsim.protocol.framework import Framework
from fedsim.protocol.kd_fedllm import KD_FEDLLM, kd_fedllm
from fedsim.protocol.split_fedllm import SPLIT_FEDLLM, split_fedllm

__all__ = [
    "FEDLLM",
    "FRAMEWORKS",
    "KD_FEDLLM",
    "SPLIT_FEDLLM",
    "Framework",
    "fedllm",
    "kd_fedllm",
    "own_key",
    "split_fedllm",
]

#: The article's three frameworks by name. A framework of one's own needs no entry here: files and
#: commands name it as ``module:NAME``.
FRAMEWORKS: Final[dict[str, Framework]] = {
    framework.name: framework for framework in (FEDLLM, KD_FEDLLM, SPLIT_FEDLLM)
}


def own_key(key: str) -> bool:
    """Whether a key of a scenario is some frameworks' own, so that others do not read it."""
    return any(framework.reads and framework.may_read(key) for framework in FRAMEWORKS.values())
