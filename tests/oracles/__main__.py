"""Measure every comparison anew: ``python tests/oracles`` prints the manual's table.

With ``--write`` it also takes the table's place in ``docs/held_against_others.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "held_against_others.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
# Python put this folder there, whose files are `oracles.queues` and so on.
sys.path[0] = str(TESTS)

from oracles.comparisons import COMPARISONS  # noqa: E402
from oracles.links import simgrid_python  # noqa: E402


def main() -> None:
    """Print the table; write it where that is asked for."""
    parser = argparse.ArgumentParser(prog="python tests/oracles")
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    options = parser.parse_args()
    if simgrid_python() is None:
        sys.exit("no Python here has SimGrid's bindings: apt-get install python3-simgrid")
    table = _table()
    sys.stdout.write(table)
    if options.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        tail = rest.partition(END)[2]
        PAGE.write_text(head + BEGIN + table + END + tail, encoding="utf-8")


def _table() -> str:
    rows = [
        "| held against | what | cases | largest difference | test |",
        "|---|---|---|---|---|",
    ]
    for one in COMPARISONS:
        found = one.measured()
        file, _, function = one.test.partition("::")
        test = f"`{Path(file).name}`: `{function}`"
        rows.append(
            f"| {one.oracle} | {one.what} | {found.num_cases} | {found.difference} | {test} |"
        )
    return "\n".join([*rows, "", f"{_where()}", ""])


def _where() -> str:
    programs = [f"{name} {version(name)}" for name in ("ciw", "peft", "torch", "transformers")]
    simgrid = subprocess.run(
        [str(simgrid_python()), "-c", "import simgrid; print(simgrid.simgrid_version)"],
        capture_output=True,
        text=True,
        check=True,
    )
    programs.append(f"simgrid {simgrid.stdout.split()[-1]}")
    day = datetime.now(UTC).date().isoformat()
    return (
        f"Printed by `python tests/oracles --write` on {day}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{', '.join(programs)}. Seconds play no part in it: a busy machine gives the same figures."
    )


if __name__ == "__main__":
    main()
