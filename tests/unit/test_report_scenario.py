"""The terminal report: what a reader must see, at any width."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedsim.report.figure.answer import figure
from fedsim.report.scenario.report import scenario_report
from fedsim.scenario import run_scenario
from scenarios import SMALL, changed, written


def printed(folder: Path, table: dict[str, Any], width: int = 120) -> str:
    """The report as text."""
    answer = run_scenario(written(folder, table))
    console = Console(width=width, file=io.StringIO())
    console.print(scenario_report(answer.table, everything=True))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_report_fits_its_width(tmp_path: Path, width: int) -> None:
    """No line is longer, and no figure is cut off."""
    text = printed(tmp_path, SMALL, width)

    assert max(len(line) for line in text.splitlines()) <= width
    if width >= 80:
        assert "…" not in text
        assert "all rounds" in text


def test_an_infeasible_result_is_shown_with_its_reason(tmp_path: Path) -> None:
    """It stays in the tables, without time, energy or cost: these would be of nothing."""
    text = printed(tmp_path, changed(device={"memory": "1 kB"}, price={"per_uplink_gb": 1.0}))

    assert "fedllm (infeasible)" in text
    assert "fedllm cannot run: class 'clients' needs" in text
    assert "Nothing can run: fedllm, and 2 more" in text
    assert " J " not in text


def test_a_lower_bound_is_marked(tmp_path: Path) -> None:
    """With its sign and its reason."""
    text = printed(tmp_path, changed(server={"num_accelerators": 1}, engine="analytic"))

    assert "≥ " in text
    assert "time is a lower bound: the server's accelerators" in " ".join(text.split())
    assert "times of Split-FedLLM are lower bounds" in text


def test_uncalibrated_devices_are_flagged(tmp_path: Path) -> None:
    """With the width of their interval."""
    assert "nobody measured rpi5-8g, rpi5-16g" in printed(tmp_path, SMALL)


def test_classes_have_rows_of_their_own(tmp_path: Path) -> None:
    """Where there are several."""
    classes = [{"name": "slow", "num_clients": 3, "link": "3g"}, {"name": "fast", "num_clients": 1}]

    assert "slow, 3 clients" in printed(tmp_path, changed(fleet={"class": classes}))


def test_a_users_text_is_not_markup(tmp_path: Path) -> None:
    """Brackets in a question or a name are shown as they are."""
    table = changed(
        question="Is [bold]this[/bold] [/] fine?",
        case=[{"name": "[red]a[/]", "framework": "fedllm"}],
    )
    text = printed(tmp_path, table)

    assert "Is [bold]this[/bold] [/] fine?" in text
    assert "[red]a[/]" in text


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_figure_is_the_same_every_time(tmp_path: Path, suffix: str) -> None:
    """No dates and no random ids."""
    tables = [run_scenario(written(tmp_path, SMALL)).table]
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        figure(tables, path)

    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_svg_names_every_framework(tmp_path: Path) -> None:
    """A marker and a legend entry each; infeasible ones are drawn as well."""
    table = changed(device={"memory": "1 kB"})
    figure([run_scenario(written(tmp_path, table)).table], tmp_path / "a.svg")

    assert (tmp_path / "a.svg").stat().st_size > 10_000


def test_a_dollar_sign_is_no_formula(tmp_path: Path) -> None:
    """What a user writes is drawn as it is written."""
    table = changed(question="$x^{ costs $5?", case=[{"name": "$x^{$", "framework": "fedllm"}])
    figure([run_scenario(written(tmp_path, table)).table], tmp_path / "a.png")

    assert (tmp_path / "a.png").is_file()
