"""Draw the pictures of ``docs/images`` anew: the case study's report, figures, a Gantt chart.

    python docs/make_images.py

They are kept in the repository, because a README is read where nothing can be built.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from fedsim import des
from fedsim.fleet import prepare
from fedsim.report.figure import figure
from fedsim.report.gantt import gantt_figure
from fedsim.report.scenario_report import scenario_report
from fedsim.scenario import read_scenario, run_scenario

IMAGES: Final = Path(__file__).resolve().parent / "images"
_WIDTH: Final = 120
#: Shipped scenarios whose answer is shown as a figure.
_FIGURES: Final = ("half_fleet_lte", "overnight", "saturation", "second_gpu", "stragglers")
#: Scenario, result and round of the Gantt chart.
_GANTT: Final = ("overnight", "over-selected", 3)


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    table = run_scenario("case_study").table
    console = Console(record=True, file=io.StringIO(), width=_WIDTH)
    console.print(scenario_report(table))
    svg = console.export_svg(
        title="fedsim scenario case_study", code_format=_offline_format(), unique_id="case-study"
    )
    path = IMAGES / "case_study_report.svg"
    path.write_text(svg, encoding="utf-8")
    figure([table], IMAGES / "case_study.png")
    for name in _FIGURES:
        figure([run_scenario(name).table], IMAGES / f"{name}.png")
    _draw_gantt(IMAGES / "gantt.png")


def _draw_gantt(path: Path) -> None:
    """One round of one result, simulated by the engine that traces."""
    scenario, result, round_index = _GANTT
    question = read_scenario(scenario)
    entry = next(e for e in question.entries if e.variant.name == result)
    simulation = prepare(
        entry.federation, entry.variant.protocol, entry.policy, entry.settings.seed
    )
    trace = des.simulate(simulation, keeps_trace=True).trace or ()
    gantt_figure(trace, round_index, path, title=result, max_clients=24)


def _offline_format() -> str:
    """rich's picture without the fonts that it would fetch from the network."""
    text, num_removed = re.subn(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    if not num_removed:
        raise ValueError("rich's SVG format has no @font-face any more: check what it fetches")
    return text.replace("Fira Code", "DejaVu Sans Mono")


if __name__ == "__main__":
    main()
