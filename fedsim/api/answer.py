"""``fedsim.run``: a scenario's answer, for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final

from fedsim.api.notebook import as_html
from fedsim.api.table import Column, Kind, Table, at, column_of
from fedsim.comparison.result import Result, results_of
from fedsim.errors import ScenarioError
from fedsim.scenario import ScenarioResult, answer_json, read_scenario

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Answer", "run"]

_MAX_SEEDS: Final = 1000
_TEXTS: Final = ("name", "case", "framework", "status", "engine_used")
_BYTES: Final = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
)
#: Of a result's table, by their paths.
_NUMBERS: Final[tuple[tuple[str, Kind], ...]] = (
    ("server_per_round.flop", "integer"),
    ("server_per_round.peak_memory_bytes", "integer"),
    ("setup.transfer_s", "number"),
    *((f"round_time_s.{part}", "number") for part in ("mean", "low", "high")),
    *((f"round_time_s.{part}", "number") for part in ("compute", "transfer", "wait")),
    *((f"makespan_s.{part}", "number") for part in ("mean", "low", "high")),
    ("energy.total_j", "number"),
    ("money.total", "number"),
    ("money.currency", "text"),
    *((f"accuracy.{part}", "number") for part in ("mean", "low", "high")),
    ("accuracy.basis", "text"),
    ("to_target.target", "number"),
    *(
        (f"to_target.{quantity}.{part}", "number")
        for quantity in ("rounds", "time_s", "payload_bytes", "energy_j", "money")
        for part in ("mean", "low", "high")
    ),
)


def run(
    source: str | PathLike[str] | Mapping[str, Any],
    *,
    case: str | None = None,
    set: Mapping[str, Any] | None = None,
    engine: str | None = None,
    seeds: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Answer:
    """Answer a scenario, as ``fedsim scenario`` does. Needs no torch and prints nothing.

    Parameters
    ----------
    source : str, path or mapping
        A TOML file; the name of a scenario that ships, such as ``case_study``; or a mapping with
        the tables that a file would have, in which relative paths start at the current folder and
        which may have ``extends``.
    case : str, optional
        Only this case of the file; all of them without it.
    set : mapping, optional
        Keys with the values that they get instead of the file's: ``{"lora.r": 4}``. Quantities are
        text with their unit: ``{"link.uplink": "10 Mbit/s"}``.
    engine : str, optional
        Which interpreter answers: ``auto``, ``analytic``, ``des``, ``scale`` or ``sampled``.
    seeds : int, optional
        How often clients and rounds are drawn for the 95 % interval, 1 to 1000.
    progress : callable, optional
        Told a result's name, how many of its rounds are simulated, and how many there are.

    Returns
    -------
    Answer

    Raises
    ------
    ScenarioError
        With a line for every mistake.

    Examples
    --------
    >>> import fedsim
    >>> answer = fedsim.run("case_study", set={"lora.r": 4})
    >>> answer.results[0].exchanged_bytes
    1652736
    """
    if seeds is not None and not (type(seeds) is int and 1 <= seeds <= _MAX_SEEDS):
        raise ScenarioError(
            f"seeds = {seeds!r}: a whole number from 1 to {_MAX_SEEDS:,} is needed."
        )
    given = source if isinstance(source, Mapping) else fspath(source)
    question = read_scenario(given, set or {}, engine, case)
    if progress is None:
        return Answer(question.answer(num_seeds=seeds).table)
    now = [""]

    def on_result(name: str, number: int) -> None:  # noqa: ARG001  what a question tells
        now[0] = name

    def on_round(done: int, total: int) -> None:
        progress(now[0], done, total)

    return Answer(question.answer(on_result, seeds, on_round).table)


@dataclass(frozen=True)
class Answer:
    """The answer to one scenario.

    Attributes
    ----------
    table : mapping
        The scenario's entry in the JSON: question, goal, answer, verdicts, results and the rest;
        the page on the JSON explains each key.
    """

    table: Mapping[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return f"<Answer of {len(self.results)} results: {self.answer.partition(chr(10))[0]}>"

    @property
    def question(self) -> str:
        """What the scenario asks."""
        return str(self.table["question"])

    @property
    def answer(self) -> str:
        """The sentences that answer the goal and say why, a line each."""
        return "\n".join(self.table["answer"]["sentences"])

    @property
    def results(self) -> list[Result]:
        """One for each case and swept value, in the order of the file."""
        return results_of(self.table)

    @property
    def warnings(self) -> list[str]:
        """Settings that change nothing; empty where all is well."""
        return list(self.table["warnings"])

    def to_json(self) -> str:
        """The document that ``fedsim scenario FILE --json PATH`` writes, byte for byte."""
        return answer_json([ScenarioResult(dict(self.table))])

    def to_pandas(self) -> pd.DataFrame:
        """One row a result.

        A column is called like its path in a result's JSON, unit included; an axis of a sweep like
        its key; ``num_clients`` are all clients. What the JSON has by class of clients
        (``per_client_round``, ``per_client_setup``) is the mean over clients, and of
        ``peak_memory_bytes`` the largest. What is not known is NA.

        Raises
        ------
        ScenarioError
            If pandas is not installed.
        """
        return self._columns().to_pandas()

    def to_arrow(self) -> pa.Table:
        """The table of :meth:`to_pandas` as a ``pyarrow.Table``."""
        return self._columns().to_arrow()

    def show(self, *parts: str, everything: bool = False) -> None:
        """Print the command's report.

        Parameters
        ----------
        *parts : str
            Below the answer: ``counts``, ``time``, ``rounds``, ``energy``, ``accuracy``,
            ``verdicts``, ``claims``, ``notes``.
        everything : bool
            All of these.

        Raises
        ------
        ScenarioError
            If there is no such part.
        """
        from fedsim.report.console import show
        from fedsim.report.scenario.report import checked_parts, scenario_report

        show(scenario_report(self.table, checked_parts(parts, "show"), everything=everything))

    def __str__(self) -> str:
        from fedsim.report.console import as_text
        from fedsim.report.scenario.report import scenario_report

        return as_text(scenario_report(self.table))

    def _repr_html_(self) -> str:
        from fedsim.report.scenario.summary import doubts, result_columns

        results = self.results
        changes = [entry["text"] for entry in self.table.get("would_change") or ()]
        columns = result_columns(results)
        return as_html(
            self.question,
            [*self.answer.splitlines(), *(f"Warning: {line}." for line in self.warnings)],
            ["result", *(heading.replace("\n", " ") for heading, _ in columns)],
            [[result.name, *(cell(result) for _, cell in columns)] for result in results],
            below=[
                *(f"Would change it: {line}." for line in changes),
                *(f"Trust: {line}." for line in doubts(results)),
            ],
        )

    def _columns(self) -> Table:
        return Table(dict(_columns(self.results)))


def _columns(results: list[Result]) -> Iterator[tuple[str, Column]]:
    tables = [result.table for result in results]
    for name in _TEXTS:
        yield name, Column("text", tuple(table[name] for table in tables))
    for key in dict.fromkeys(key for result in results for key in result.axes):
        yield key, column_of(result.axes.get(key) for result in results)
    yield "num_rounds", Column("integer", tuple(table["num_rounds"] for table in tables))
    yield "num_clients", Column("integer", tuple(result.num_clients for result in results))
    for name in (*_BYTES, "client_flop", "server_flop", "peak_memory_bytes", "energy_j"):
        kind: Kind = "number" if name == "energy_j" else "integer"
        values = tuple(_of_clients(result, "per_client_round", name) for result in results)
        yield f"per_client_round.{name}", Column(kind, values)
    for name in _BYTES:
        values = tuple(_of_clients(result, "per_client_setup", name) for result in results)
        yield f"per_client_setup.{name}", Column("integer", values)
    for path, kind in _NUMBERS:
        yield path, Column(kind, tuple(at(table, path) for table in tables))


def _of_clients(result: Result, group: str, quantity: str) -> float | None:
    """Mean over clients, or of memory the largest; None where a class does not know it."""
    values = [each[group][quantity] for each in result.classes]
    if any(value is None for value in values):
        return None
    if quantity == "peak_memory_bytes":
        return result.peak_memory_bytes
    if len(values) == 1:
        return float(values[0]) if quantity == "energy_j" else int(values[0])
    counts = [each["num_clients"] for each in result.classes]
    total = sum(num * value for num, value in zip(counts, values, strict=True))
    is_whole = isinstance(total, int) and total % sum(counts) == 0
    return total // sum(counts) if is_whole else float(total / sum(counts))
