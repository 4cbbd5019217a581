"""Write the pages' generated parts into ``docs/_generated``: tables, drawings, an example answer.

``conf.py`` calls :func:`generate` ahead of every build, so nothing in them can be older than the
code that they are read from. Run by hand it does the same: ``python docs/generate.py``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

HERE: Final = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from catalogue_tables import device_table, link_table, model_table  # noqa: E402
from cost_tables import (  # noqa: E402
    example_table,
    feature_table,
    row_table,
    saved_table,
    transfer_table,
)
from docs_plans import kd_plan, language_model_plan, plan, split_plan  # noqa: E402
from privacy_tables import framework_table, growth_table, step_formula_table  # noqa: E402
from protocol_tables import step_table  # noqa: E402
from scenario_keys import key_tables  # noqa: E402

from fedsim.protocol import fedllm, kd_fedllm, split_fedllm  # noqa: E402
from fedsim.protocol.step import Protocol  # noqa: E402
from fedsim.report.scenario_report import scenario_report  # noqa: E402
from fedsim.report.sequence import sequence_diagram  # noqa: E402
from fedsim.scenario import ScenarioResult, answer_json, run_scenario  # noqa: E402

__all__ = ["generate"]

OUT: Final = HERE / "_generated"
_REPORT_WIDTH: Final = 120

_TEXTS: Final[Mapping[str, Callable[[], str]]] = {
    "scenario_keys.md": key_tables,
    "models.md": model_table,
    "devices.md": device_table,
    "links.md": link_table,
    "fedllm_steps.md": lambda: step_table(fedllm(plan()), plan()),
    "kd_fedllm_steps.md": lambda: step_table(kd_fedllm(kd_plan()), kd_plan()),
    "kd_language_model_steps.md": lambda: step_table(
        kd_fedllm(language_model_plan()), language_model_plan()
    ),
    "split_fedllm_steps.md": lambda: step_table(split_fedllm(split_plan()), split_plan()),
    "split_frozen_steps.md": lambda: step_table(split_fedllm(split_plan(top=6)), split_plan(top=6)),
    "block_rows.md": row_table,
    "flop_examples.md": example_table,
    "saved_examples.md": saved_table,
    "features.md": feature_table,
    "transfer_examples.md": transfer_table,
    "privacy_steps.md": step_formula_table,
    "privacy_growth.md": growth_table,
    "privacy_frameworks.md": framework_table,
    "case_study_report.txt": lambda: _report("case_study"),
    "answer.json": lambda: _answer("case_study"),
}


def generate(out: Path = OUT) -> None:
    """Write all parts; a file whose content has not changed is left alone."""
    out.mkdir(exist_ok=True)
    for name, text in _TEXTS.items():
        _write(out / name, text())
    for name, protocol in _drawn().items():
        sequence_diagram(protocol, out / f"{name}.svg")


def _drawn() -> dict[str, Protocol]:
    return {
        "fedllm": fedllm(plan()),
        "kd_fedllm": kd_fedllm(kd_plan()),
        "split_fedllm": split_fedllm(split_plan()),
        "split_frozen": split_fedllm(split_plan(top=6)),
    }


def _report(name: str) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=_REPORT_WIDTH, color_system=None)
    console.print(scenario_report(run_scenario(name).table))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _answer(name: str) -> str:
    """A whole answer with its first result only."""
    table = dict(run_scenario(name).table)
    table["results"] = table["results"][:1]
    return answer_json([ScenarioResult(table)])


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    generate()
