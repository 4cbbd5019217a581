"""Small fixed kernels that tell what a machine can do at this moment.

They are timed beside every measurement, to see when it was disturbed, and again by
``fedsim calibrate check``, to see whether a profile still holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Final

import torch

from fedsim.runtime.meter import synchronize

__all__ = ["SENTINEL_FLOP", "sentinel_seconds", "sentinels_now"]

_PRODUCT_SIZE: Final = {"cpu": 512, "cuda": 4096}
_STREAM_VALUES: Final = {"cpu": 4_000_000, "cuda": 64_000_000}
_NUM_LAUNCHES: Final = 200
_REPEATS: Final = 5
_NUM_SERIES: Final = 9

#: FLOPs of the product, by kind of device.
SENTINEL_FLOP: Final = {kind: 2 * size**3 for kind, size in _PRODUCT_SIZE.items()}


def sentinel_seconds(device: torch.device, repeats: int = _REPEATS) -> dict[str, float]:
    """Median time of each sentinel [s].

    Returns
    -------
    dict of str to float
        ``product``, one large matrix product; ``stream``, a sum of two arrays that no cache holds;
        ``dispatch``, many operators on a few values each.
    """
    size = _PRODUCT_SIZE[device.type]
    matrix = torch.ones(size, size, device=device)
    array = torch.ones(_STREAM_VALUES[device.type], device=device)
    out = torch.empty_like(array)
    few = torch.ones(8, device=device)

    def dispatch() -> None:
        for _ in range(_NUM_LAUNCHES):
            few.add_(1.0)

    return {
        "product": _median(device, lambda: torch.mm(matrix, matrix), repeats),
        "stream": _median(device, lambda: torch.add(array, array, out=out), repeats),
        "dispatch": _median(device, dispatch, repeats),
    }


def sentinels_now(device: torch.device) -> dict[str, float]:
    """Median of each sentinel over several series, which take seconds together [s]."""
    series = [sentinel_seconds(device) for _ in range(_NUM_SERIES)]
    return {name: median(one[name] for one in series) for name in series[0]}


def _median(device: torch.device, function: Callable[[], object], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return median(times)
