"""What happens: the step language, what steps cost, and one file per framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fedsim.protocol.fedllm import fedllm
from fedsim.protocol.kd_fedllm import kd_fedllm
from fedsim.protocol.split_fedllm import split_fedllm
from fedsim.protocol.step import Protocol
from fedsim.spec.plan import ClientPlan

__all__ = ["FRAMEWORKS", "fedllm", "kd_fedllm", "split_fedllm"]

#: The article's three frameworks by name. A framework of one's own needs no entry here: a scenario
#: names its function as ``module:function``.
FRAMEWORKS: Final[dict[str, Callable[[ClientPlan], Protocol]]] = {
    "fedllm": fedllm,
    "kd_fedllm": kd_fedllm,
    "split_fedllm": split_fedllm,
}
