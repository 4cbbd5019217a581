"""At any width every name and every figure of a report is whole, for every shipped scenario."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import tomli_w
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.report.scenario.accuracy_table import AccuracyTable
from fedsim.report.scenario.report import scenario_report
from fedsim.scenario.file.document import read_document, scenario_names
from fedsim.scenario.file.merge import merged
from fedsim.scenario.run import read_scenario
from scenarios import changed

WIDTHS: Final = (60, 80, 100, 120, 160)
_PRICED: Final = "priced"
_NAMES: Final = (*scenario_names(), _PRICED)
#: What a simulated scenario is cut to; what formulas answer stays whole.
_CUT: Final[dict[str, Any]] = {
    "half_fleet_lte": {"workload": {"num_rounds": 2, "samples_per_client": 32}},
    "overnight": {"workload": {"num_rounds": 2}, "fleet": {"num_clients": 200}},
    "stragglers": {"workload": {"num_rounds": 2}},
    "second_gpu": {"workload": {"samples_per_client": 32}},
    "saturation": {"workload": {"num_rounds": 2}},
    "million": {"workload": {"num_rounds": 2}, "fleet": {"num_clients": 1000}},
}


def priced() -> dict[str, Any]:
    """Every power and every price, so that the widest tables have all their columns."""
    return changed(
        question="What does a priced fleet cost, and who pays for what?",
        workload={"num_rounds": 20_000, "samples_per_client": 3000},
        fleet={"num_clients": 34},
        device={"power": "12 W", "idle_power": "2.7 W"},
        link={"transmit_power": "1.2 W", "receive_power": "0.8 W"},
        server={"device": {"power": "300 W", "idle_power": "70 W"}, "num_accelerators": 34},
        price={
            **{"currency": "EUR", "per_uplink_gb": 0.31, "per_downlink_gb": 0.17},
            **{"per_accelerator_hour": 2.49, "per_kwh": 0.3},
        },
        privacy={"secure_aggregation": "secagg"},
        case=[
            {"name": "fedllm", "framework": "fedllm", "sweep": {"lora.r": [1, 4, 16]}},
            {
                "name": "kd",
                "framework": "kd_fedllm",
                "sweep": {"workload.public_samples": [500, 5002]},
            },
        ],
    )


@cache
def answered_table(name: str, folder: Path) -> dict[str, Any]:
    """The answer of a scenario, cut where it is simulated."""
    table = priced() if name == _PRICED else merged(read_document(name).table, _CUT.get(name, {}))
    if name == "saturation":
        for case in table["case"]:
            case["sweep"] = {"fleet.num_clients": [10, 100, 1000]}
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    return read_scenario(path).answer(num_seeds=1).table


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place, so that each scenario is answered once."""
    return tmp_path_factory.mktemp("widths")


def rendered(part: RenderableType, width: int) -> str:
    """As a terminal of that width shows it."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(part)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def parts_of(part: Any) -> Iterator[Any]:
    """Tables and texts of a report, out of whatever holds them."""
    if isinstance(part, Group):
        for each in part.renderables:
            yield from parts_of(each)
    elif isinstance(part, (Panel, Padding)):
        yield from parts_of(part.renderable)
    elif isinstance(part, AccuracyTable):
        console = Console(width=500, file=io.StringIO())
        for each in part.__rich_console__(console, console.options):
            yield from parts_of(each)
    elif isinstance(part, Table):
        for column in part.columns:
            for cell in column.cells:
                yield from parts_of(cell)
    else:
        assert isinstance(part, (AdaptiveTable, Text)), part
        yield part


def words_of(text: str) -> list[str]:
    """Words, without the frame of the question."""
    return text.replace("│", " ").split()


def missing_words(table: AdaptiveTable, text: str) -> list[str]:
    """Names and cells that no line of a report holds whole, and as often as they are."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    flat = " ".join(words_of(text))
    hidden = " ".join(part[:90] for part in flat.split("not shown at this width:")[1:])
    wanted = Counter[str]()
    for row in table.rows:
        name = " ".join(row.name.split())
        if row.cells:
            wanted[name] += 1
        elif name not in flat:
            # A heading may be longer than a line, and is words then.
            wanted[name] += 1
        for column, cell in zip(table.columns, row.cells, strict=False):
            if " ".join(column.split()) not in hidden or column not in table.optional:
                for line in cell.split("\n"):
                    wanted[" ".join(line.split())] += 1
    del wanted["-"], wanted[""]
    return [each for each, num in wanted.items() if sum(line.count(each) for line in lines) < num]


@pytest.mark.parametrize("name", _NAMES)
def test_no_name_and_no_figure_is_cut_at_any_width(folder: Path, name: str) -> None:
    """Whoever reads "24." for 24.73 kJ decides by another number; nor does a note stand twice.

    One test a scenario, for each is answered once: default report and ``--all``, every width.
    """
    table = answered_table(name, folder)
    for everything in (False, True):
        assert_whole(scenario_report(table, everything=everything))
    if len(table["results"]) <= 8:
        # A screen of eighty columns and forty lines.
        assert len(rendered(scenario_report(table), 80).splitlines()) <= 40
    parts = parts_of(scenario_report(table, everything=True))
    notes = [p.plain for p in parts if isinstance(p, Text) and p.plain.startswith(" * ")]
    assert notes
    assert len(notes) == len(set(notes))


def assert_whole(report: RenderableType) -> None:
    """Every word of it, at every width."""
    parts = list(parts_of(report))
    assert any(isinstance(part, AdaptiveTable) for part in parts)
    for width in WIDTHS:
        text = rendered(report, width)
        flat = " ".join(words_of(text))
        assert max(cell_len(line) for line in text.splitlines()) <= width
        assert "…" not in text
        for part in parts:
            if isinstance(part, AdaptiveTable):
                assert not missing_words(part, text), f"{width} columns"
            else:
                assert " ".join(words_of(part.plain)) in flat, f"{width} columns"


def test_what_all_rows_share_stands_above_them_once(folder: Path) -> None:
    """A column that says the same in every row is no column."""
    text = rendered(scenario_report(answered_table("small_study", folder)), 120)

    assert text.count("the same for all: fits yes") == 1
    assert not any(line.split()[:1] == ["fits"] for line in text.splitlines())


def test_two_swept_keys_are_a_matrix(folder: Path) -> None:
    """Rows of one and columns of the other, who takes least in each cell."""
    sweep = {"lora.r": [2, 4], "link.uplink": ["1 Mbit/s", "9 Mbit/s", "90 Mbit/s"]}
    cases = [
        {"name": "fedllm", "framework": "fedllm", "sweep": sweep},
        {"name": "split", "framework": "split_fedllm", "sweep": sweep},
    ]
    path = folder / "matrix.toml"
    path.write_text(tomli_w.dumps(changed(case=cases)), encoding="utf-8")
    report = scenario_report(read_scenario(path).answer().table)
    (matrix,) = [part for part in parts_of(report) if isinstance(part, AdaptiveTable)]

    assert matrix.title == "time of a round of who takes least, by r and uplink"
    assert [column.split("\n") for column in matrix.columns] == [
        ["uplink", "1 Mbit/s"],
        ["uplink", "9 Mbit/s"],
        ["uplink", "90 Mbit/s"],
    ]
    assert [row.name for row in matrix.rows] == ["2", "4"]
    assert all(cell.split()[0].endswith("FedLLM") for row in matrix.rows for cell in row.cells)
    for width in WIDTHS:
        assert not missing_words(matrix, rendered(report, width))


def test_lines_of_a_cell_stay_in_their_column() -> None:
    """The interval of one row is not read as the value of the next."""
    rows = [
        Row("a", ("1.9 %\n0.0 % .. 6.9 %", "8")),
        Row("b", ("62 %\n57 % .. 69 %", "9\n6 .. 12")),
    ]
    lines = rendered(AdaptiveTable("", ("accuracy", "rounds"), rows), 80).splitlines()
    end = next(line for line in lines if "accuracy" in line).index("accuracy") + len("accuracy")

    cells = ("1.9 %", "0.0 % .. 6.9 %", "62 %", "57 % .. 69 %")
    assert [next(line for line in lines if cell in line)[:end].split("  ")[-1].strip()
            for cell in cells] == list(cells)  # fmt: skip
    assert next(line for line in lines if "57 % .. 69 %" in line).endswith("6 .. 12")
