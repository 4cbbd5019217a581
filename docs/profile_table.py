"""Write the shipped profiles' figures into README.md, between its two markers.

python docs/profile_table.py
"""

from __future__ import annotations

from pathlib import Path

from fedsim.calibration.profile import find_profile, load_profile, profile_names

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- calibration -->", "<!-- /calibration -->"


def table() -> str:
    """One row a shipped profile: machine, date, errors on unseen shapes, the machine's noise."""
    rows = [
        "| profile | machine | date | points | held-out error: median, p95, bias | "
        "test-retest noise: median, p95 | 95 % interval covers | command |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in profile_names():
        file = load_profile(find_profile(name)).file
        machine, quality, origin = file.machine, file.quality, file.provenance
        rows.append(
            f"| `{name}` | {machine.processor}, {machine.num_threads} threads, torch "
            f"{origin.torch} | {origin.date} | {quality.num_points} | "
            f"{quality.held_out_median:.1%}, {quality.held_out_p95:.1%}, "
            f"{quality.held_out_bias:+.1%} | {quality.noise_median:.1%}, "
            f"{quality.noise_p95:.1%} | {quality.coverage_95:.0%} | `{origin.command}` |"
        )
    return "\n".join(rows)


def updated(text: str) -> str:
    """The text with the table between its markers."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
