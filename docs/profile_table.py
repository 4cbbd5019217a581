"""Write the shipped profiles' figures into README.md, between its two markers.

python docs/profile_table.py
"""

from __future__ import annotations

from pathlib import Path

from fedsim.calibration.profile import find_profile, load_profile, profile_names
from fedsim.calibration.profile_file import MemoryTable

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- calibration -->", "<!-- /calibration -->"


def table() -> str:
    """One row a shipped profile and format: machine, date, held-out errors, noise."""
    rows = [
        "| profile, format | machine | date | configurations | held-out error: median, p95, bias | "
        "test-retest noise: median, p95 | 95 % interval covers | "
        "peak memory, held out: median, p95, largest; unpadded | command |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in profile_names():
        file = load_profile(find_profile(name)).file
        machine, origin = file.machine, file.provenance
        for precision, fit in file.fit.items():
            errors, noise = fit.held_out["configuration"], fit.noise["model"]
            covered = fit.coverage["model"]
            rows.append(
                f"| `{name}`, {precision} | {machine.processor}, {machine.num_threads} threads, "
                f"torch {origin.torch} | {origin.date} | {fit.num_shapes} | "
                f"{errors.median:.1%}, {errors.p95:.1%}, {errors.bias:+.1%} | "
                f"{noise.median:.1%}, {noise.p95:.1%} | {covered.share:.0%} | "
                f"{_memory(file.memory)} | `{origin.command}` |"
            )
    return "\n".join(rows)


def _memory(memory: MemoryTable | None) -> str:
    """Errors of what scenarios count; all formats together."""
    if memory is None:
        return ""
    found = (memory.unfitted_peak, memory.unpadded_peak)
    return "; ".join(
        f"{errors.median:.0%}, {errors.p95:.0%}, {errors.largest:.0%}"
        for errors in found
        if errors is not None
    )


def updated(text: str) -> str:
    """The text with the table between its markers."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
