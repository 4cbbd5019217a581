"""Meters: what really happened, counted by torch, the clock and the buffers themselves.

Nothing here knows, or may import, a cost formula (an import contract keeps it so): a simulator that
checks itself against its own formulas proves nothing.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["MemoryMeter", "Reading", "message_payload_bytes", "metered", "synchronize"]

_LENGTH_PREFIX_BYTES = 8


@dataclass(slots=True)
class Reading:
    """What was metered around one operation.

    Attributes
    ----------
    flop : int
        Matrix FLOPs by torch's counter; 0 where only time was asked for.
    seconds : float
        Device-synchronized wall time [s].
    """

    flop: int = 0
    seconds: float = 0.0


def message_payload_bytes(message: bytes) -> int:
    """Tensor data in a serialized safetensors buffer, read off the buffer's own header [B]."""
    header_bytes = int.from_bytes(message[:_LENGTH_PREFIX_BYTES], "little")
    return len(message) - _LENGTH_PREFIX_BYTES - header_bytes


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def metered(
    device: torch.device, *, counts_flop: bool = False, memory: MemoryMeter | None = None
) -> Iterator[Reading]:
    """Meter the operations of a ``with`` block.

    Parameters
    ----------
    device : torch.device
    counts_flop : bool
        Count FLOPs. Counting slows small operations, so a run that measures seconds leaves it out.
    memory : MemoryMeter, optional
        Count live memory in this meter, which slows things too.
    """
    reading = Reading()
    synchronize(device)
    start = time.perf_counter()
    counter = FlopCounterMode(display=False) if counts_flop else None
    with memory or nullcontext(), counter or nullcontext():
        yield reading
    if counter is not None:
        reading.flop = int(counter.get_total_flops())
    synchronize(device)
    reading.seconds = time.perf_counter() - start


class MemoryMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own base
    """Live bytes of the storages that operations make, and their peak.

    Counts every storage once from the operation that first returns it until it is freed. Storages
    that existed before (weights, batches) are not counted unless an operation returns them.

    Attributes
    ----------
    live_bytes, peak_bytes : int
        Now, and at most [B].

    Notes
    -----
    One meter may be entered many times: what an earlier ``with`` block made and is still alive (a
    graph that waits for gradients, optimizer state) goes on counting.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own base
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._finalizers: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for tensor in _tensors((args, kwargs or {})):
            # An argument that no operation made is old: it must not be counted when a view or an
            # in-place operation hands it back.
            self._known.setdefault(tensor.untyped_storage(), 0)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._count(tensor.untyped_storage())
        return result

    def adopt(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count tensors that no metered operation made, such as received ones, until freed."""
        for tensor in tensors:
            self._known.pop(tensor.untyped_storage(), None)
            self._count(tensor.untyped_storage())

    def forget_peak(self) -> None:
        """Begin a new peak at what is live now."""
        self.peak_bytes = self.live_bytes

    def _count(self, storage: Any) -> None:
        if storage in self._known:
            return
        num_bytes = storage.nbytes()
        self._known[storage] = num_bytes
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        self._finalizers.append(weakref.finalize(storage, self._free, num_bytes))

    def _free(self, num_bytes: int) -> None:
        self.live_bytes -= num_bytes


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _tensors(item)
