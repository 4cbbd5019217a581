"""How much more memory this process may take: the tightest of the limits that it stands under."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

__all__ = ["FreeMemory", "free_memory"]

_PROC: Final = Path("/proc")
_GROUPS: Final = Path("/sys/fs/cgroup")
#: Of both versions of control groups: limit, what is used.
_LIMITS: Final = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


@dataclass(frozen=True)
class FreeMemory:
    """What is left below a limit.

    Attributes
    ----------
    num_bytes : int
        [B]; 0 where more is used than allowed.
    limit : str
        Which limit.
    """

    num_bytes: int
    limit: str


def free_memory(
    device: torch.device, proc: Path = _PROC, groups: Path = _GROUPS
) -> FreeMemory | None:
    """The tightest limit of a device's memory, or None where the system does not tell.

    Parameters
    ----------
    device : torch.device
        CUDA has memory of its own; the CPU's is the process's.
    proc, groups : Path
        Where the kernel tells of processes and of control groups.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return FreeMemory(int(free), "memory of the CUDA device")
    return min(_found(proc, groups), key=lambda one: one.num_bytes, default=None)


def _found(proc: Path, groups: Path) -> Iterator[FreeMemory]:
    available = _kilobytes(proc / "meminfo").get("MemAvailable")
    if available is not None:
        yield FreeMemory(available, "memory that the machine has free")
    status = _kilobytes(proc / "self" / "status")
    for kind, used, name in (
        (resource.RLIMIT_AS, "VmSize", "ulimit -v"),
        (resource.RLIMIT_DATA, "VmData", "ulimit -d"),
    ):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY and used in status:
            yield FreeMemory(max(0, limit - status[used]), name)
    yield from _group_limits(proc / "self" / "cgroup", groups)


def _group_limits(membership: Path, groups: Path) -> Iterator[FreeMemory]:
    """Of the process's control groups and of all that hold them; in a container only the root."""
    folders = {groups, groups / "memory"}
    for line in _lines(membership):
        _, controllers, place = (*line.split(":", 2), "", "")[:3]
        base = groups / "memory" if "memory" in controllers else groups
        own = base / place.strip("/")
        folders |= {own, *(parent for parent in own.parents if parent.is_relative_to(base))}
    for folder in sorted(folders):
        for limit_name, used_name in _LIMITS:
            limit, used = (_number(folder / name) for name in (limit_name, used_name))
            if limit is not None and used is not None:
                # What the kernel gives back when asked is not in the way.
                cached = _table(folder / "memory.stat").get("inactive_file", 0)
                yield FreeMemory(max(0, limit - used + cached), "memory of the control group")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _table(path: Path) -> dict[str, int]:
    words = [line.split() for line in _lines(path)]
    return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}


def _kilobytes(path: Path) -> dict[str, int]:
    return {name.rstrip(":"): 1024 * value for name, value in _table(path).items()}
