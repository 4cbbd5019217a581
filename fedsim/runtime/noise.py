"""Dropout's random stream, keyed by name like every other draw.

torch's layers draw from one global stream. It begins anew with every turn of a party, so that what
a party draws depends neither on who came before it nor on where a process was started.
"""

from __future__ import annotations

import torch

from fedsim.draws import generator

__all__ = ["begin_noise"]


def begin_noise(seed: int, round_index: int, party: str, turn: int) -> None:
    """Begin the stream of one party's turn: a segment of the round's protocol."""
    key = generator(seed, round_index, party, f"dropout.turn{turn}").integers(2**63 - 1)
    torch.manual_seed(int(key))
