"""A framework as a value: its names, how a protocol is built from a plan, and what it asks of one.

What files, interpreters and reports must know of a framework beside its protocol is said here, so
that one file says all of one framework and nobody asks for it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from fedsim.protocol.encoding import with_codecs
from fedsim.protocol.step import Protocol
from fedsim.spec.plan import ClientPlan

__all__ = ["Framework"]

#: Protocols of so many plans are kept: a plan is read by several interpreters, and run again with
#: other seeds and on other devices.
_MAX_KEPT: Final = 512


@dataclass(frozen=True)
class Framework:
    """How clients and a server train together.

    Attributes
    ----------
    name : str
        What files call it.
    title : str
        What readers call it.
    build : callable
        A client's plan to its protocol; a pure function. Its messages are plain: which codec they
        go through, the plan says, and it is put in behind.
    needs : mapping of str to str
        Keys of a scenario without which there is no plan for it, each with the reason and what to
        write: a sentence for whoever left it out.
    reads : frozenset of str or None
        Which of the keys that are some frameworks' own it reads; ``split`` stands for the whole
        table. None where nobody said so: then it may read any.
    averages_parameters : bool
        Whether the server averages parameters, so that a server optimizer has something to do.
    other_names : tuple of str
        What else people call it.

    Examples
    --------
    >>> from fedsim.protocol import FEDLLM
    >>> FEDLLM.title, FEDLLM.may_read("split.cut_layer")
    ('FedLLM', False)
    """

    name: str
    title: str
    build: Callable[[ClientPlan], Protocol] = field(repr=False)
    needs: Mapping[str, str] = field(default_factory=dict, hash=False)
    reads: frozenset[str] | None = None
    averages_parameters: bool = True
    other_names: tuple[str, ...] = ()
    _kept: Callable[[ClientPlan], Protocol] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kept", lru_cache(maxsize=_MAX_KEPT)(self.built))

    def __call__(self, plan: ClientPlan) -> Protocol:
        """The protocol of a plan, built once.

        Raises
        ------
        ProtocolError
            If the plan lacks what the framework needs.
        """
        return self._kept(plan)

    def built(self, plan: ClientPlan) -> Protocol:
        """The protocol of a plan, built anew.

        Raises
        ------
        ProtocolError
            If the plan lacks what the framework needs, or a codec fails.
        """
        return with_codecs(self.build(plan), plan)

    def may_read(self, key: str) -> bool:
        """Whether the framework reads a key that is some frameworks' own."""
        return self.reads is None or not self.reads.isdisjoint((key, key.partition(".")[0]))
