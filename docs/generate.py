"""Write the pages' generated parts into ``docs/_generated``: tables, drawings, an example answer.

``conf.py`` calls :func:`generate` ahead of every build, so nothing in them can be older than the
code that they are read from. Run by hand it does the same: ``python docs/generate.py``.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console, RenderableType

HERE: Final = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from catalogue_tables import (  # noqa: E402
    device_table,
    link_spread_table,
    link_table,
    model_table,
)
from codec_tables import codec_table  # noqa: E402
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
from study_tables import claim_table, point_table, side_by_side_table  # noqa: E402

from fedsim.protocol import fedllm, kd_fedllm, split_fedllm  # noqa: E402
from fedsim.protocol.step import Protocol  # noqa: E402
from fedsim.report.protocol.sequence import sequence_diagram  # noqa: E402
from fedsim.report.scenario.report import scenario_report  # noqa: E402
from fedsim.report.trace.timeline import round_timeline  # noqa: E402
from fedsim.scenario import (  # noqa: E402
    ScenarioResult,
    answer_json,
    read_scenario,
    run_scenario,
)
from fedsim.units import format_bytes  # noqa: E402

__all__ = ["generate"]

OUT: Final = HERE / "_generated"
#: As the page shows it without scrolling.
_REPORT_WIDTH: Final = 90
_TIMELINE_WIDTH: Final = 100
#: The tutorial's question, and what it then changes.
_WHAT_IF: Final = HERE / "examples" / "what_if.toml"
_UNEQUAL: Final = ("device.slowdown_p95=2.0", "policy.quorum=90")
#: What a result says in its own words when it was simulated.
_SIMULATED: Final = (
    "name",
    "engine_used",
    "engine_reason",
    "wasted",
    "rounds",
    "utilization",
    "round_time_s",
    "makespan_s",
    "successful_round",
    "interval",
    "energy",
    "money",
    "notes",
)

_TEXTS: Final[Mapping[str, Callable[[], str]]] = {
    "scenario_keys.md": key_tables,
    "study_points.md": point_table,
    "study_side_by_side.md": side_by_side_table,
    "study_claims.md": claim_table,
    "models.md": model_table,
    "devices.md": device_table,
    "links.md": link_table,
    "link_spreads.md": link_spread_table,
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
    "codec_costs.md": codec_table,
    "privacy_steps.md": step_formula_table,
    "privacy_growth.md": growth_table,
    "privacy_frameworks.md": framework_table,
    "case_study_report.txt": lambda: _report("case_study"),
    "answer.json": lambda: _answer("case_study"),
    "what_if_report.txt": lambda: _report(_WHAT_IF),
    "what_if_timeline.txt": lambda: _timeline(_WHAT_IF, _UNEQUAL),
    "suggestions.md": lambda: _suggestions("case_study", "device.memory=1.2 GB"),
    "simulated_answer.json": lambda: _simulated_answer(_WHAT_IF, _UNEQUAL),
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


def _report(name: str | Path) -> str:
    table = dict(run_scenario(name).table)
    if isinstance(name, Path):
        # As the command is given: from the top of the checkout.
        table["file"] = name.relative_to(HERE.parent).as_posix()
    return _printed(scenario_report(table), _REPORT_WIDTH)


def _printed(what: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(what)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _timeline(path: Path, overrides: tuple[str, ...]) -> str:
    """The first round as ``--trace`` shows it on the terminal."""
    events = read_scenario(path, overrides, "des").trace()
    return _printed(round_timeline(events, 1), _TIMELINE_WIDTH)


def _suggestions(name: str, override: str) -> str:
    """What would fit where a scenario's first result does not."""
    result = run_scenario(name, (override,)).results[0]
    lines = ["| for | changes | peak memory |", "|---|---|---|"]
    for entry in result["suggestions"]:
        changes = ", ".join(
            f"`{key} = {json.dumps(value)}`" for key, value in entry["changes"].items()
        )
        lines.append(f"| {entry['who']} | {changes} | {format_bytes(entry['peak_memory_bytes'])} |")
    return "\n".join(lines) + "\n"


def _simulated_answer(path: Path, overrides: tuple[str, ...]) -> str:
    (result,) = run_scenario(path, overrides, "des").results
    return json.dumps({key: result[key] for key in _SIMULATED}, indent=1) + "\n"


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
