"""Draw the pictures of ``docs/images`` anew: the case study's report, figures, a Gantt chart.

    python docs/make_images.py [NAME...]

draws all of them, or those that are named. They are kept in the repository, because a README is
read where nothing can be built. The million clients take some minutes of it.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from question_figures import QUESTIONS
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme

from fedsim.report.figure.answer import figure
from fedsim.report.scenario.report import scenario_report
from fedsim.report.trace.gantt import gantt_figure
from fedsim.scenario import read_scenario, run_scenario

HERE: Final = Path(__file__).resolve().parent
IMAGES: Final = HERE / "images"
#: Columns of a terminal: the narrowest that most people have, and a wide one.
_WIDTHS: Final = (80, 120)
_THEMES: Final[Mapping[str, TerminalTheme]] = {
    "dark": SVG_EXPORT_THEME,
    "light": DEFAULT_TERMINAL_THEME,
}
#: What the tutorial asks for with ``--trace``.
_GANTT: Final = HERE / "examples" / "what_if.toml"
_GANTT_SET: Final = ("device.slowdown_p95=2.0", "policy.quorum=90")


def main(names: Sequence[str]) -> int:
    """Write all pictures, or those that are named; 2 where one is unknown."""
    unknown = [name for name in names if name not in _PICTURES]
    if unknown:
        allowed = ", ".join(_PICTURES)
        sys.stderr.write(f"no picture {', '.join(unknown)}; there are: {allowed}\n")
        return 2
    IMAGES.mkdir(exist_ok=True)
    for name in names or _PICTURES:
        _PICTURES[name](IMAGES / f"{name}.png")
    return 0


def _draw_case_study(path: Path) -> None:
    figure([run_scenario("case_study").table], path)


def _draw_gantt(path: Path) -> None:
    events = read_scenario(str(_GANTT), _GANTT_SET, "auto").trace()
    gantt_figure(events, 1, path)


def _draw_report(path: Path) -> None:
    """What a terminal shows, in both widths and both themes."""
    table = run_scenario("case_study").table
    for width in _WIDTHS:
        for name, theme in _THEMES.items():
            console = Console(record=True, file=io.StringIO(), width=width)
            console.print(scenario_report(table))
            svg = console.export_svg(
                title="fedsim scenario case_study",
                theme=theme,
                code_format=_offline_format(),
                unique_id=f"case-study-{width}-{name}",
            )
            own = path.with_name(f"{path.stem}_{width}_{name}.svg")
            own.write_text(svg, encoding="utf-8")


#: An advance of 12.2 px, on which rich counts, in a font whose letters are 0.602 em wide.
_FONT_PX: Final = 20.264


def _offline_format() -> str:
    """rich's picture without the fonts that it would fetch from the network.

    Its columns stand where rich means them even for a viewer that knows no ``textLength``, and its
    leading blanks are kept.
    """
    text, num_removed = re.subn(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    if not num_removed:
        raise ValueError("rich's SVG format has no @font-face any more: check what it fetches")
    for old, new in (
        ("Fira Code", "DejaVu Sans Mono"),
        ("font-size: {char_height}px", f"font-size: {_FONT_PX}px"),
        ('<svg class="rich-terminal"', '<svg xml:space="preserve" class="rich-terminal"'),
    ):
        if old not in text:
            raise ValueError(f"rich's SVG format has no {old!r} any more: look at the pictures")
        text = text.replace(old, new)
    return text


_PICTURES: Final[Mapping[str, Callable[[Path], None]]] = {
    "case_study": _draw_case_study,
    "case_study_report": _draw_report,
    "gantt": _draw_gantt,
    **QUESTIONS,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
