"""Draw the pictures of ``docs/images`` anew: the case study's report, figures, a Gantt chart.

    python docs/make_images.py

They are kept in the repository, because a README is read where nothing can be built. The million
clients take about a minute of it.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

from question_figures import draw_questions
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from fedsim.report.figure import figure
from fedsim.report.gantt import gantt_figure
from fedsim.report.scenario_report import scenario_report
from fedsim.scenario import read_scenario, run_scenario

HERE: Final = Path(__file__).resolve().parent
IMAGES: Final = HERE / "images"
_WIDTH: Final = 120
#: What the tutorial asks for with ``--trace``.
_GANTT: Final = HERE / "examples" / "what_if.toml"
_GANTT_SET: Final = ("device.slowdown_p95=2.0", "policy.quorum=90")


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
    draw_questions(IMAGES)
    events = read_scenario(str(_GANTT), _GANTT_SET, "auto").trace()
    gantt_figure(events, 1, IMAGES / "gantt.png")


def _offline_format() -> str:
    """rich's picture without the fonts that it would fetch from the network."""
    text, num_removed = re.subn(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    if not num_removed:
        raise ValueError("rich's SVG format has no @font-face any more: check what it fetches")
    return text.replace("Fira Code", "DejaVu Sans Mono")


if __name__ == "__main__":
    main()
