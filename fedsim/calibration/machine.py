"""What machine and software a measurement was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from fedsim.calibration.profile_file import Machine

__all__ = ["describe_machine", "repository_commit", "software_versions"]


def describe_machine(device: torch.device) -> Machine:
    """The machine that runs this process."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Machine(
            device="cuda",
            processor=str(properties.name),
            num_threads=torch.get_num_threads(),
            memory_bytes=int(properties.total_memory),
            operating_system=platform.platform(terse=True),
        )
    return Machine(
        device="cpu",
        processor=_processor_name(),
        num_threads=torch.get_num_threads(),
        memory_bytes=_physical_memory_bytes(),
        operating_system=platform.platform(terse=True),
    )


def software_versions() -> dict[str, str]:
    """Versions that a measurement depends on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    }


@cache
def repository_commit() -> str:
    """Commit of the checkout that fedsim runs from, or ``unknown`` for an installed wheel.

    As it was when it was first asked for: a long run goes on with the code that it began with.
    """
    folder = Path(__file__).resolve().parent
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _physical_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
