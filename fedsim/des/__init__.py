"""The reference engine: one SimPy process for each client and segment.

It keeps the rules of ``docs/simulation.md`` and is written to be read, in this order:
:mod:`~fedsim.des.agenda` (which event is next), :mod:`~fedsim.des.link` and
:mod:`~fedsim.des.accelerators` (what is shared), :mod:`~fedsim.des.attempt` (a client's way through
the protocol), :mod:`~fedsim.des.synchronous`, :mod:`~fedsim.des.buffered` and
:mod:`~fedsim.des.windowed` (the server).
"""

from fedsim.des.engine import simulate

__all__ = ["simulate"]
